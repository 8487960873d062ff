"""Benchmark artefacts: JSON files that are kept, so that a later run can be held against them.

bench embeddings   latencies and rates by size of batch, with a digest over a slice of the vectors
bench tokenizer    rate of the model's tokenizer over a corpus
bench compare      an old artefact and a new one: digest, rate and tokens a text, within the guardrails
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from django.conf import settings

from inference import bench_table
from inference.bench_sides import BenchError
from inference.bench_table import percentile
from inference.tokenizer import TextCodec
from inference.types import ModelSpec
from npuproxy import own_server
from npuproxy.doctor import runtime
from npuproxy.running_server import RunningServer
from registry import store

RESULTS: Final = Path("benchmarks/results")
WARM_UPS: Final = 2
"""Batches before the first one that counts: the first loads the model."""
SLICE: Final = 16
"""Numbers of each vector that the digest is made of."""
STEP: Final = 0.02
"""To which they are rounded; and how far two processors' kernels may be apart in one number."""
READ_S: Final = 600.0
CORPUS: Final = (
    "How do I pull a model?",
    "The NPU answers short prompts and leaves the long ones to the processor beside it.",
    "A driver that crashes takes one worker with it, and the next request finds another.",
    "Ein Satz auf Deutsch, damit der Tokenizer auch Umlaute wie ä, ö und ü zerlegen muss.",
    "def median(values):\n    ordered = sorted(values)\n    return ordered[len(ordered) // 2]",
    "Twelve watts on the battery, fifty-five on the mains; the fan stays quiet below sixty degrees.",
    "Paris is the capital of France, and the Seine runs through it.",
    "日本語の文章も少しだけ入れておきます。",
)
"""Of several kinds; a change here changes every digest."""

Say = Callable[[str], None]


# --- embeddings -------------------------------------------------------------------------------------------------


def embeddings(model: str, batches: Sequence[int], repeat: int, device: str, say: Say) -> dict[str, Any]:
    """By the running server, or one of its own. Raises BenchError, ModelNotFound."""
    spec = store.find_sync(model)
    if spec.kind != "embedding":
        raise BenchError(f"'{model}' makes no embeddings")
    codec = TextCodec.open(spec)
    with own_server.running() as server, server.client(httpx.Timeout(30, read=READ_S)) as client:
        ask = _Asking(client, spec.name, device)
        executed = ask.warm_up()
        rows = [_batch(ask, codec, spec, size, repeat, say) for size in batches]
        vectors = ask.vectors(list(CORPUS))
        memory = _memory(server)
    slices = [[round(value, 4) for value in vector[:SLICE]] for vector in vectors]
    return _head(spec, "embeddings") | {
        "device": executed,
        "warm_ups_discarded": WARM_UPS,
        "repeat": repeat,
        "batches": rows,
        "server_memory_bytes": memory,
        "digest": digest(slices),
        "slices": slices,
    }


class _Asking:
    """One text is never known from before: the cache is neither read nor written."""

    def __init__(self, client: httpx.Client, model: str, device: str) -> None:
        self._client = client
        self._model = model
        self._headers = {"X-Cache-Enabled": "false"}
        if device:
            self._headers |= {"X-NPU-Proxy-Device": device, "X-Target-Strict": "true"}

    def warm_up(self) -> str:
        """The device that executed."""
        answer = [self._post(list(CORPUS[:1])) for _ in range(WARM_UPS)][-1]
        return str(answer.headers["x-npu-proxy-execution-device"])

    def vectors(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._post(texts).json()["embeddings"]
        return found

    def timed(self, texts: list[str]) -> tuple[float, int]:
        """Milliseconds until the whole answer, and its count of tokens."""
        began = time.perf_counter()
        answer = self._post(texts)
        elapsed = (time.perf_counter() - began) * 1000
        return elapsed, int(answer.json()["prompt_eval_count"])

    def _post(self, texts: list[str]) -> httpx.Response:
        body = {"model": self._model, "input": texts}
        try:
            answer = self._client.post("/api/embed", json=body, headers=self._headers)
        except httpx.HTTPError as error:
            raise BenchError(f"the server does not answer: {error}") from None
        if answer.status_code != 200:
            raise BenchError(f"status {answer.status_code}: {answer.text[:300]}")
        return answer


def _batch(
    ask: _Asking, codec: TextCodec, spec: ModelSpec, size: int, repeat: int, say: Say
) -> dict[str, Any]:
    say(f"{size} text{'s' if size > 1 else ''} at once")
    texts = [CORPUS[index % len(CORPUS)] for index in range(size)]
    timed = [ask.timed(texts) for _ in range(repeat)]
    latencies = [elapsed for elapsed, _ in timed]
    tokens = timed[0][1]
    mean = statistics.fmean(latencies)
    return {
        "batch": size,
        "latency_ms": _times(latencies) | {"per_text": round(mean / size, 3)},
        "tokenize_time_ms": round(_tokenize_ms(codec, texts, spec.context_length), 3),
        "total_tokens": tokens,
        "avg_tokens_per_text": round(tokens / size, 3),
        "texts_per_sec": round(size / mean * 1000, 2),
        "tokens_per_sec": round(tokens / mean * 1000, 2),
    }


def _tokenize_ms(codec: TextCodec, texts: list[str], limit: int) -> float:
    """The tokenizer's share, in this process."""
    codec.fit(texts, limit)
    began = time.perf_counter()
    codec.fit(texts, limit)
    return (time.perf_counter() - began) * 1000


def digest(slices: Sequence[Sequence[float]]) -> str:
    """SHA-256 over the numbers as steps: the same on every run of the same files on the same processor."""
    steps = [round(value / STEP) for row in slices for value in row]
    return hashlib.sha256(struct.pack(f"<{len(steps)}h", *steps)).hexdigest()


def _memory(server: RunningServer) -> int:
    """RSS of the server and its workers."""
    process = psutil.Process(server.pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


# --- the tokenizer ----------------------------------------------------------------------------------------------


def tokenizer(model: str, repeat: int, corpus: Path | None, say: Say) -> dict[str, Any]:
    """Without a server. Raises BenchError, ModelNotFound, OSError."""
    spec = store.find_sync(model)
    texts = corpus.read_text("utf-8").splitlines() if corpus else list(CORPUS)
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise BenchError(f"{corpus}: no line with text")
    codec = TextCodec.open(spec)
    tokens = sum(count for _, count in codec.fit(texts, 10**6))
    times = []
    for index in range(repeat):
        say(f"round {index + 1} of {repeat}")
        began = time.perf_counter()
        codec.fit(texts, 10**6)
        times.append((time.perf_counter() - began) * 1000)
    return _head(spec, "tokenizer") | {
        "texts": len(texts),
        "characters": sum(map(len, texts)),
        "total_tokens": tokens,
        "avg_tokens_per_text": round(tokens / len(texts), 3),
        "repeat": repeat,
        "latency_ms": _times(times),
        "tokens_per_sec": round(tokens / statistics.median(times) * 1000, 1),
    }


def _times(values: Sequence[float]) -> dict[str, Any]:
    ordered = list(values)
    return {
        "all": [round(value, 3) for value in ordered],
        "mean": round(statistics.fmean(ordered), 3),
        **{f"p{share:.0f}": round(percentile(ordered, share / 100), 3) for share in (50, 95, 99)},
    }


def _head(spec: ModelSpec, kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "npuproxy": settings.VERSION,
        "model": spec.name,
        "model_digest": spec.digest,
        "tokenizer": "hugging face tokenizers, tokenizer.json of the model",
        "runtime": runtime.installed(),
        "machine": bench_table.machine(),
        "system": platform.system(),
    }


def path_of(artefact: dict[str, Any], folder: Path) -> Path:
    """benchmarks/results/20261121_all-minilm_embeddings.json"""
    day = str(artefact["time"])[:10].replace("-", "")
    name = str(artefact["model"]).removesuffix(":latest").replace("/", "_").replace(":", "_")
    return folder / f"{day}_{name}_{artefact['kind']}.json"


# --- comparing --------------------------------------------------------------------------------------------------

LOST_RATE: Final = 0.10
TOKENS_A_TEXT: Final = 1.0


def compare(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """(guardrail, holds, words). Raises BenchError for artefacts that cannot be compared."""
    for name in ("kind", "model"):
        if old.get(name) != new.get(name):
            raise BenchError(f"{name}: {old.get(name)!r} and {new.get(name)!r} cannot be compared")
    if "digest" in old:
        yield _same_vectors(old, new)
    pairs = _paired(old, new)
    for label, before, after in pairs:
        moved = after["avg_tokens_per_text"] - before["avg_tokens_per_text"]
        words = f"{before['avg_tokens_per_text']:g} → {after['avg_tokens_per_text']:g}{label}"
        yield "tokens", abs(moved) <= TOKENS_A_TEXT, words
    for label, before, after in pairs:
        change = after["tokens_per_sec"] / before["tokens_per_sec"] - 1
        words = (
            f"{before['tokens_per_sec']:.0f} → {after['tokens_per_sec']:.0f} tokens/s ({change:+.0%}){label}"
        )
        yield "rate", change >= -LOST_RATE, words


def _same_vectors(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, bool, str]:
    if old["digest"] == new["digest"]:
        return "digest", True, old["digest"][:12]
    worst = max(
        abs(a - b)
        for one, two in zip(old["slices"], new["slices"], strict=True)
        for a, b in zip(one, two, strict=True)
    )
    near = worst <= STEP and old["machine"] != new["machine"]
    words = f"{old['digest'][:12]} → {new['digest'][:12]}, numbers up to {worst:.4f} apart"
    return "digest", near, words + (" on another processor, whose kernels round otherwise" if near else "")


def _paired(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    if "batches" not in old:
        return [("", old, new)]
    after = {row["batch"]: row for row in new["batches"]}
    pairs = [
        (f", {row['batch']} at once", row, after[row["batch"]])
        for row in old["batches"]
        if row["batch"] in after
    ]
    if not pairs:
        raise BenchError("no size of a batch is in both")
    return pairs


def read(path: Path) -> dict[str, Any]:
    """Raises BenchError."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: {error}") from None
    if not isinstance(found, dict) or found.get("kind") not in ("embeddings", "tokenizer"):
        raise BenchError(f"{path} is no artefact of `bench embeddings` or `bench tokenizer`")
    return found
