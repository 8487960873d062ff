"""Benchmark artefacts: JSON files that are kept, so that a later run can be held against them.

bench embeddings   latencies and rates by size of batch, on one device, with a digest over a slice of the vectors
bench tokenizer    rate of the model's tokenizer over a corpus

How two of them are compared is in `npuproxy.bench_compare`.
"""

from __future__ import annotations

import hashlib
import platform
import re
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
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
        say(f"on {ask.warm_up()}")
        rows = [_batch(ask, codec, spec, size, repeat, say) for size in batches]
        vectors = ask.vectors(list(CORPUS))
        memory = _memory(server)
    slices = [[round(value, 4) for value in vector[:SLICE]] for vector in vectors]
    return _head(spec, "embeddings") | {
        "device": ask.device(),
        "warm_ups_discarded": WARM_UPS,
        "repeat": repeat,
        "batches": rows,
        "server_memory_bytes": memory,
        "digest": digest(slices),
        "slices": slices,
    }


class _Asking:
    """On one device alone: requests that are free go here and there, by their texts and by what waits.

    One text is never known from before: the cache is neither read nor written.
    """

    def __init__(self, client: httpx.Client, model: str, device: str) -> None:
        """`device`: '' is the one that such a request prefers, where it can execute it, else the one that does."""
        self._client = client
        self._model = model
        self._wish = device
        self._executed: set[str] = set()

    def device(self) -> str:
        """Which executed all that was asked. Raises BenchError where it was not one."""
        (device, *others) = sorted(self._executed)
        if others:
            raise BenchError(
                f"texts were embedded on {device} and on {', '.join(others)}: nothing was measured"
            )
        return device

    def warm_up(self) -> str:
        """The device that executes all that follows."""
        if not self._wish:
            self._wish = self._preferred()
        for _ in range(WARM_UPS):
            self._post(list(CORPUS[:1]))
        return self.device()

    def _preferred(self) -> str:
        free = self._try(list(CORPUS[:1]), "")
        wished = str(_taken(free).headers["x-npu-proxy-requested-device"])
        routed = str(free.headers["x-npu-proxy-routed-device"])
        return wished if self._try(list(CORPUS[:1]), wished).status_code == 200 else routed

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
        answer = _taken(self._try(texts, self._wish))
        self._executed.add(str(answer.headers["x-npu-proxy-execution-device"]))
        return answer

    def _try(self, texts: list[str], device: str) -> httpx.Response:
        headers = {"X-Cache-Enabled": "false"}
        if device:
            headers |= {"X-NPU-Proxy-Device": device, "X-Target-Strict": "true"}
        try:
            return self._client.post(
                "/api/embed", json={"model": self._model, "input": texts}, headers=headers
            )
        except httpx.HTTPError as error:
            raise BenchError(f"the server does not answer: {error}") from None


def _taken(answer: httpx.Response) -> httpx.Response:
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
        "corpus_digest": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
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
        "p50": round(statistics.median(ordered), 3),
        **{f"p{share}": round(percentile(ordered, share / 100), 3) for share in (95, 99)},
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


def place(output: Path) -> Path:
    """`output`, made ready to be written before anything is measured: a folder, or a `.json` that is not there yet.

    Raises BenchError and OSError.
    """
    if output.suffix == ".json":
        if output.exists():
            raise BenchError(f"{output} is there already: name another file, or move it away")
        folder = output.parent
    else:
        folder = output
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return output


def path_of(artefact: dict[str, Any], output: Path) -> Path:
    """benchmarks/results/20261121T093007Z_all-minilm_embeddings_CPU.json, or `output` where it is a file."""
    if output.suffix == ".json":
        return output
    moment = re.sub(r"[-:]|\+.*", "", str(artefact["time"])) + "Z"
    model = str(artefact["model"]).removesuffix(":latest")
    device = str(artefact.get("device", "")).partition(" ")[0]
    parts = (moment, model, artefact["kind"], device)
    return output / ("_".join(re.sub(r"[^\w.-]", "-", str(part)) for part in parts if part) + ".json")
