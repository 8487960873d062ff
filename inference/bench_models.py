"""The two models of the benchmark, and prompts of a wished length for them."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

from inference import memory
from inference.bench_sides import BareSide, BenchError, Call, Side
from inference.chat_template import ChatTemplate
from inference.tokenizer import TextCodec
from inference.types import ChatRequest, Message, ModelSpec
from inference.worker.bare import Kind

DEMO = Path(__file__).resolve().parent / "builtin" / "demo"
MINILM = DEMO.parent / "all-minilm"
BENCH_NAME = "bench"
"""The generated model of about 100 M parameters."""
_CANDIDATES = 60
WORDS = (
    *("river", "window", "seven", "paper", "light", "north", "garden", "signal", "copper", "early", "table"),
    *("engine", "quiet", "market", "winter", "letter", "bridge", "number", "green", "travel", "mirror"),
    *("silver", "branch", "doctor", "evening", "simple", "button", "corner", "ocean", "rocket", "planet"),
)


def spec_of(folder: Path, name: str, *, exact: bool) -> ModelSpec:
    """What the registry would make of a chat model's folder, without a database. Raises BenchError."""
    try:
        lines = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except OSError as error:
        raise BenchError(f"model '{name}': {error.filename} cannot be read") from None
    listed = {line[66:]: line[:64] for line in lines}
    files = {file: ((folder / file).stat().st_size, sha256) for file, sha256 in listed.items()}
    value_bytes = 4.0 if exact else 1.25  # a u8 cache has scales and zero points too
    per_layer = 2 * config["num_key_value_heads"] * config["head_dim"] * value_bytes
    return ModelSpec(
        name=f"{name}:latest",
        digest=listed["openvino_model.bin"],
        path=folder,
        kind="chat",
        files=files,
        size_bytes=sum(size for size, _ in files.values()),
        context_length=config["max_position_embeddings"],
        kv_bytes_per_token=int(config["num_hidden_layers"] * per_layer),
        capabilities=frozenset({"completion"}),
        exact=exact,
    )


def embedder() -> ModelSpec:
    """The built-in embedding model, as the registry would make it of its folder."""
    lines = (MINILM / "SHA256SUMS").read_text("utf-8").splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    files = {file: ((MINILM / file).stat().st_size, sha256) for file, sha256 in listed.items()}
    return ModelSpec(
        name="all-minilm:latest",
        digest=listed["openvino_model.bin"],
        path=MINILM,
        kind="embedding",
        files=files,
        size_bytes=sum(size for size, _ in files.values()),
        context_length=256,
        embedding_length=384,
        capabilities=frozenset({"embedding"}),
    )


class Subject:
    """A model with its text side."""

    def __init__(self, name: str, spec: ModelSpec, device: str) -> None:
        self.name = name
        self.spec = spec
        self.device = device
        self.codec = TextCodec.open(spec)
        self._template = ChatTemplate.open(spec)

    def plan(self, budget: int = 0) -> memory.MemoryPlan:
        """The KV pool that the product gives it. Raises LoadFailed when it does not fit."""
        return memory.plan(
            self.spec,
            self.device,
            budget=budget or memory.default_budget(),
            context=self.spec.context_length,
            max_prompt_len=4096,
        )

    def bare(self, kind: Kind) -> BareSide:
        return BareSide(
            kind, self.spec, device=self.device, kv_blocks=self.plan().kv_blocks, eos_ids=self.codec.eos_ids
        )

    def call(self, text: str, max_tokens: int, start_s: float = 0.0) -> Call:
        request = ChatRequest(model=self.name, messages=(Message(role="user", content=text),), think=False)
        ids = tuple(self.codec.encode(asyncio.run(self._template.render(request, False))))
        return Call(model=self.name, text=text, ids=ids, max_tokens=max_tokens, start_s=start_s)

    def text(self, prompt_tokens: int, seed: int) -> str:
        """A message whose prompt has about this many tokens; another seed differs from the first token on."""
        source = random.Random(seed)
        words = [str(source.randrange(10**6))]
        while True:
            missing = prompt_tokens - len(self.call(" ".join(words), 1).ids)
            if missing <= 0:
                return " ".join(words)
            words += source.choices(WORDS, k=max(1, missing // 4))

    def steady(self, side: Side, count: int, max_tokens: int, prompt_tokens: int = 40) -> list[Call]:
        """Calls that run to their length, and whose first token is text that a client can see."""
        found: list[Call] = []
        for seed in range(_CANDIDATES):
            call = self.call(self.text(prompt_tokens, seed), max_tokens)
            (trace,) = side.run([call])
            first = "".join(self.codec.decoder().push(trace.ids[:1]))
            if trace.tokens == max_tokens and first and "<" not in first:
                found.append(call)
            if len(found) == count:
                return found
        raise BenchError(
            f"'{self.name}' gave {len(found)} of {count} answers of {max_tokens} tokens; others ended early"
        )
