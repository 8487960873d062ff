"""What is measured (`Target`) and what it is compared with (`BareSide`): the same calls, the same traces.

Everything here is synchronous: while one side runs, the other one is idle, and this process reads the clock.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from inference.load_frame import load_frame
from inference.memory import MemoryPlan
from inference.types import ModelSpec
from inference.worker.bare import BareCall, BareTrace, Batch, Kind, Ready, Setup, Traces
from inference.worker.bare_embedding import TextBatch, Vectors
from inference.worker.messages import Load

_ROOT = Path(__file__).resolve().parent.parent


class BenchError(Exception):
    """A row cannot be measured; the message says why."""


class Call(Struct, frozen=True, kw_only=True):
    """One greedy request. `text` is the user's message, `ids` the whole prompt as the template makes it."""

    model: str
    text: str
    ids: tuple[int, ...]
    max_tokens: int
    start_s: float = 0.0
    """From the begin of the batch that it is part of."""


class Trace(Struct, frozen=True, kw_only=True):
    """When the tokens of a call arrived. Seconds, from the batch's begin."""

    start_s: float
    arrivals: tuple[float, ...]
    tokens: int
    prompt_tokens: int
    ids: tuple[int, ...] = ()
    """Of the bare side alone."""
    error: str = ""

    @property
    def ttft_s(self) -> float:
        return self.arrivals[0] - self.start_s

    @property
    def end_s(self) -> float:
        return self.arrivals[-1]

    @property
    def decode_rate(self) -> float:
        """Tokens a second after the first one."""
        return (self.tokens - 1) / (self.arrivals[-1] - self.arrivals[0])


EmbedDialect = Literal["ollama", "float", "base64"]
"""/api/embed, and /v1/embeddings with either encoding."""


class EmbedCall(Struct, frozen=True, kw_only=True):
    """One request for vectors of the embedding model."""

    texts: tuple[str, ...]
    dialect: EmbedDialect = "ollama"
    """Over HTTP; the engine knows none."""


class EmbedTrace(Struct, frozen=True, kw_only=True):
    """When the whole answer was there. Seconds, from the begin of the calls that were made together."""

    start_s: float
    end_s: float
    vectors: tuple[bytes, ...]
    """float32, little-endian, one for each text."""
    error: str = ""

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Side(Protocol):
    def run(self, calls: Sequence[Call]) -> list[Trace]: ...


class Target(Side, Protocol):
    """The product, through its engine or through HTTP."""

    label: str
    """'over HTTP' or 'through the engine'."""

    def embed(self, calls: Sequence[EmbedCall]) -> list[EmbedTrace]:
        """All at the same time; `error` in a trace tells of one that failed."""

    def start(self, memory_budget_bytes: int = 0) -> None:
        """Afresh, with no model loaded; ends what ran before."""

    def stop(self) -> None: ...

    def load(self, model: str) -> float:
        """Seconds until it is ready. Raises BenchError."""

    def unload(self, model: str) -> None: ...

    def kill_worker(self, model: str) -> None:
        """SIGKILL to the process that holds the model."""

    def settle(self) -> None:
        """Until the spare worker is there and every process is quiet."""


class BareProcess:
    """A child with one pipeline and nothing else. `load_s`: what the pipeline's constructor took."""

    def __init__(self, module: str, setup: Setup | Load) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        try:
            self.load_s = msgspec.json.decode(self._ask(setup), type=Ready).load_s
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, question: Struct) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(OSError):  # it has ended; the missing answer says so
            stdin.write(msgspec.json.encode(question) + b"\n")
            stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise BenchError(f"the bare pipeline's process ended (exit status {self._process.wait(10)})")
        return answer


class BareSide(BareProcess):
    """A pipeline that generates."""

    def __init__(
        self, kind: Kind, spec: ModelSpec, *, device: str, kv_blocks: int, eos_ids: frozenset[int]
    ) -> None:
        load = Load(
            role="batching", path=str(spec.path), device=device, exact=spec.exact, kv_blocks=kv_blocks
        )
        self._eos_ids = eos_ids
        super().__init__("inference.worker.bare", Setup(kind=kind, load=load, eos_ids=tuple(sorted(eos_ids))))

    def run(self, calls: Sequence[Call]) -> list[Trace]:
        batch = Batch(
            tuple(BareCall(ids=call.ids, max_tokens=call.max_tokens, start_s=call.start_s) for call in calls)
        )
        found = msgspec.json.decode(self._ask(batch), type=Traces).traces
        return [self._trace(call, trace) for call, trace in zip(calls, found, strict=True)]

    def _trace(self, call: Call, trace: BareTrace) -> Trace:
        """The token that ends an answer is none of it: the product does not count it either."""
        ids = trace.ids[:-1] if trace.ids and trace.ids[-1] in self._eos_ids else trace.ids
        return Trace(
            start_s=call.start_s,
            arrivals=tuple(trace.arrivals),
            tokens=len(ids),
            prompt_tokens=len(call.ids),
            ids=tuple(ids),
        )


class BareEmbedding(BareProcess):
    """The embedding pipeline with the product's own configuration: one call for each list of texts."""

    def __init__(self, spec: ModelSpec) -> None:
        """On the CPU, where the product embeds unless it is told otherwise."""
        plan = MemoryPlan(cost_bytes=0)
        super().__init__("inference.worker.bare_embedding", load_frame(spec, "CPU", plan, "", False))

    def embed(self, texts: Sequence[str]) -> EmbedTrace:
        made = msgspec.json.decode(self._ask(TextBatch(tuple(texts))), type=Vectors)
        return EmbedTrace(start_s=0.0, end_s=made.seconds, vectors=made.vectors)
