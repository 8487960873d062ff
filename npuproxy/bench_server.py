"""The server as the benchmark's target: a `manage.py serve` of its own, with a data folder and a port."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from inference.bench_engine import QUIET_S, QUIET_SHARE, SETTLE_DEADLINE_S, SPARE_S, cpu_seconds
from inference.bench_sides import BenchError, Call, EmbedCall, EmbedDialect, EmbedTrace, Trace
from npuproxy import data_folder
from npuproxy.bench_client import Client, Exchange

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
START_S = 60.0
STOP_S = 20.0
_EMBED_PATHS: dict[EmbedDialect, str] = {
    "ollama": "/api/embed",
    "float": "/v1/embeddings",
    "base64": "/v1/embeddings",
}
_OURS = ("NPU_PROXY_", "OLLAMA_", "DATABASE_URL", "EMBEDDING_MODEL_PATH", "CHAT_MODEL_PATH")
"""Variables of the user's that must not change what is measured."""


class ServerTarget:
    """A Target. `models`: folder of each model that is not built in, by name."""

    label = "over HTTP"

    def __init__(self, models: dict[str, Path], device: str) -> None:
        self._models = models
        self._device = device
        self._folder = Path(tempfile.mkdtemp(prefix="npuproxy-bench-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        self._prepared = False

    # --- life -----------------------------------------------------------------------------------------------

    def start(self, memory_budget_bytes: int = 0) -> None:
        self._end_server()
        environment = self._environment(memory_budget_bytes)
        if not self._prepared:
            self._register(environment)
            self._prepared = True
        with (self._folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(MANAGE), *self._command()], env=environment, stdout=log, stderr=log
            )
        self._client = Client(self._port())

    def stop(self) -> None:
        self._end_server()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self._port())

    def settle(self) -> None:
        time.sleep(SPARE_S)
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        while time.monotonic() < deadline:
            before = cpu_seconds(self.process)
            time.sleep(QUIET_S)
            if cpu_seconds(self.process) - before < QUIET_SHARE * QUIET_S:
                return

    # --- requests -------------------------------------------------------------------------------------------

    def run(self, calls: Sequence[Call]) -> list[Trace]:
        exchanges = [self._client_now.post("/api/chat", _chat(call), call.start_s) for call in calls]
        self.exchange(exchanges)
        return [_trace(exchange) for exchange in exchanges]

    def embed(self, calls: Sequence[EmbedCall]) -> list[EmbedTrace]:
        exchanges = [self._client_now.post(_EMBED_PATHS[call.dialect], _embed(call)) for call in calls]
        self.exchange(exchanges)
        return [_vectors(exchange, call) for exchange, call in zip(exchanges, calls, strict=True)]

    def load(self, model: str) -> float:
        exchange = self._client_now.post("/api/generate", {"model": model, "keep_alive": -1})
        self.exchange([exchange])
        if exchange.status != 200:
            raise BenchError(f"'{model}' was not loaded: {exchange.data[-300:].decode(errors='replace')}")
        return exchange.arrivals[-1][0] - exchange.start_s

    def unload(self, model: str) -> None:
        self.exchange([self._client_now.post("/api/generate", {"model": model, "keep_alive": 0})])

    def kill_worker(self, model: str) -> None:
        weights = f"{model}{os.sep}openvino_model.bin"
        for child in self.process.children():
            try:
                mapped = any(weights in region.path for region in child.memory_maps())
            except psutil.Error:
                continue
            if mapped:
                os.kill(child.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
                return
        raise BenchError(f"the worker of '{model}' is not known")

    # --- inside ---------------------------------------------------------------------------------------------

    @property
    def _client_now(self) -> Client:
        assert self._client is not None
        return self._client

    def exchange(self, exchanges: list[Exchange]) -> None:
        """Sends them and fills in what comes back. Raises BenchError."""
        try:
            self._client_now.exchange(exchanges)
        except OSError as error:
            raise BenchError(f"the server does not answer: {error}; {self._last_words()}") from None

    def _environment(self, memory_budget_bytes: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        budget = {"NPU_PROXY_MEMORY_BUDGET": str(memory_budget_bytes)} if memory_budget_bytes else {}
        return (
            kept
            | budget
            | {
                "NPU_PROXY_DATA_DIR": str(self._folder / "data"),
                "NPU_PROXY_HOST": "127.0.0.1",
                "NPU_PROXY_PORT": "0",
                "NPU_PROXY_GRPC_PORT": "0",
                "NPU_PROXY_DEVICE": self._device,
                "OLLAMA_KEEP_ALIVE": "-1",
            }
        )

    def _command(self) -> list[str]:
        """What starts it."""
        return ["serve"]

    def _register(self, environment: dict[str, str]) -> None:
        """Rows, before the first start."""
        for name, folder in self._models.items():
            self._run_command(["bench", "--register", name, str(folder)], environment)

    def _run_command(self, arguments: Sequence[str], environment: dict[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, str(MANAGE), *arguments], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise BenchError(f"'{' '.join(arguments)}' failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def _port(self) -> int:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            found = data_folder.read_address(self._folder / "data")
            if found is not None and found["pid"] == self._process.pid:
                return int(str(found["url"]).rpartition(":")[2])
            time.sleep(0.02)
        raise BenchError(f"the server did not start: {self._last_words()}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / "serve.log").read_text("utf-8", errors="replace").strip()[-500:]
        return ""

    def _end_server(self) -> None:
        process, client = self._process, self._client
        self._process = self._client = None
        if client is not None:
            client.close()
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _chat(call: Call) -> dict[str, Any]:
    return {
        "model": call.model,
        "messages": [{"role": "user", "content": call.text}],
        "think": False,
        "options": {"temperature": 0, "num_predict": call.max_tokens},
    }


def _trace(exchange: Exchange) -> Trace:
    lines = exchange.lines()
    last = lines[-1] if lines else {}
    error = str(last.get("error", ""))
    if not error and not (exchange.status == 200 and last.get("done")):
        error = f"status {exchange.status}, no end of the answer"
    return Trace(
        start_s=exchange.start_s,
        arrivals=exchange.body_arrivals(),
        tokens=int(last.get("eval_count", 0)),
        prompt_tokens=int(last.get("prompt_eval_count", 0)),
        error=error,
    )


def _embed(call: EmbedCall) -> dict[str, Any]:
    encoding = {} if call.dialect == "ollama" else {"encoding_format": call.dialect}
    return {"model": "all-minilm", "input": call.texts} | encoding


def _vectors(exchange: Exchange, call: EmbedCall) -> EmbedTrace:
    (answer,) = exchange.lines() or [{}]
    rows = answer.get("embeddings") or [row["embedding"] for row in answer.get("data", ())]
    error = ""
    if exchange.status != 200 or len(rows) != len(call.texts):
        error = f"status {exchange.status}, {len(rows)} vectors: {str(answer.get('error', ''))[:300]}"
    packed = call.dialect == "base64"
    return EmbedTrace(
        start_s=exchange.start_s,
        end_s=exchange.arrivals[-1][0],
        vectors=tuple(b64decode(row) if packed else array("f", row).tobytes() for row in rows),
        error=error,
    )
