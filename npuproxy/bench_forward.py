"""`bench --forward`: a server that plays tokens, asked directly and through npuproxy, in one run.

With `--litellm COMMAND` LiteLLM's proxy stands before the same server too, in the virtual environment it came with.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psutil
from msgspec import Struct

from inference.bench import Row
from inference.bench_rows import Stage, difference
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, of_rounds
from npuproxy.bench_client import Client, Exchange
from npuproxy.bench_server import MANAGE, STOP_S, ServerTarget
from npuproxy.bench_upstream import MODEL

CLIENTS: Final = 8
OPENAI: Final = "/v1/chat/completions"
OLLAMA: Final = "/api/chat"
LITELLM_START_S: Final = 120.0
APART_S: Final = 0.02
"""Between two requests of one client: they are people's, not a flood's."""

ADDED: Final = {
    share: Quantity(
        name="forward",
        what=f"forwarding, {CLIENTS} clients: first byte − asked directly, p{share:.0%}".rstrip("%"),
        unit="ms",
        aim=Aim(aim),
    )
    for share, aim in ((0.5, 0.5), (0.99, 2.0))
}
CPU: Final = {
    streams: Quantity(
        name="forward-cpu",
        what=f"forwarding, {streams} stream{'s' if streams > 1 else ''}: CPU a token",
        unit="ms",
        aim=Aim(0.05),
    )
    for streams in (1, 32)
}
TRANSLATED: Final = Quantity(
    name="forward-translated", what="forwarding /api/chat to an OpenAI server: CPU a token", unit="ms"
)
REQUESTS: Final = Quantity(
    name="litellm", what="requests a second / LiteLLM's proxy", aim=Aim(10, at_most=False)
)
TOKENS: Final = Quantity(name="litellm", what="token rate / LiteLLM's proxy", aim=Aim(25, at_most=False))
TOKENS_TRANSLATED: Final = Quantity(
    name="litellm", what="token rate of /api/chat, translated / LiteLLM's proxy", aim=Aim(5, at_most=False)
)


class Started:
    """A child process that serves on a port of its own."""

    def __init__(self, command: Sequence[str], port: int = 0, environment: dict[str, str] | None = None):
        """`port` 0: it prints the one it has."""
        output = subprocess.PIPE if not port else subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.DEVNULL, env=environment, text=True
        )
        if not port:
            assert self._process.stdout is not None
            port = int(self._process.stdout.readline() or 0)
        self.client = Client(port)
        self.port = port

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


class ForwardServer(ServerTarget):
    """A server of ours with one backend: the server that plays."""

    def __init__(self, device: str, litellm: Path | None = None) -> None:
        """`litellm`: the command that starts its proxy."""
        super().__init__({}, device)
        self.litellm = litellm
        self.upstream = Started([sys.executable, str(MANAGE), "bench", "--serve-upstream"])

    def _register(self, environment: dict[str, str]) -> None:
        url = f"http://127.0.0.1:{self.upstream.port}"
        self._run_command(["backend", "add", "upstream", "--protocol", "openai", "--url", url], environment)

    def stop(self) -> None:
        super().stop()
        self.upstream.stop()

    def wait_for_model(self) -> None:
        """Until it has read the backend's list. Raises BenchError."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            exchange = _asked(self._client_now, OPENAI, _chat(1))
            if exchange.status == 200:
                return
            time.sleep(0.1)
        raise BenchError(f"no answer through the backend: {exchange.data[-300:].decode(errors='replace')}")

    @property
    def client(self) -> Client:
        return self._client_now


class Rates(Struct, frozen=True):
    """What a server brings when it is asked as fast as it answers."""

    requests: float
    tokens: float


def added(stage: Stage) -> list[Result]:
    """The same requests in turns: one set directly, one set through."""
    server = _server(stage)
    ours: list[float] = []
    theirs: list[float] = []
    for index in range(5 if stage.quick else 150):
        if index % 25 == 0:
            stage.say(f"forward: round {index} of 150")
        for side in ((0, 1), (1, 0))[index % 2]:
            times = _first_bytes(server.client if side == 0 else server.upstream.client)
            if index:  # the first one connects
                (ours if side == 0 else theirs).extend(times)
    return [difference(quantity, share, ours, theirs) for share, quantity in ADDED.items()]


def _first_bytes(client: Client) -> list[float]:
    """Milliseconds until the first byte of the body; each client's request begins at a moment of its own."""
    exchanges = [client.post(OPENAI, _chat(1), random.random() * APART_S) for _ in range(CLIENTS)]
    client.exchange(exchanges)
    _check(exchanges)
    return [(exchange.body_arrivals()[0] - exchange.start_s) * 1000 for exchange in exchanges]


def cpu(stage: Stage) -> list[Result]:
    server = _server(stage)
    results = []
    for streams, quantity in CPU.items():
        results.append(of_rounds(quantity, _cpu_rounds(stage, server, OPENAI, streams)))
    return results


def translated(stage: Stage) -> list[Result]:
    return [of_rounds(TRANSLATED, _cpu_rounds(stage, _server(stage), OLLAMA, 32))]


def _cpu_rounds(stage: Stage, server: ForwardServer, path: str, streams: int) -> list[float]:
    """Milliseconds of the server's own process a token, at a hundred tokens a second and stream."""
    tokens, pause_us = (60, 5_000) if stage.quick else (600, 10_000)
    if streams == 1 and not stage.quick:
        tokens, pause_us = 3000, 2_000
    values = []
    for index in range((2 if stage.quick else 5) + 1):
        stage.say(f"forward-cpu: {path}, {streams} streams, round {index}")
        body = _chat(tokens, pause_us, path)
        exchanges = [
            server.client.post(path, body, number * pause_us / 1e6 / streams) for number in range(streams)
        ]
        before = _own_cpu_seconds(server.process)
        server.client.exchange(exchanges)
        spent = _own_cpu_seconds(server.process) - before
        _check(exchanges)
        if index:
            values.append(spent / (tokens * streams) * 1000)
    return values


def _own_cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def beside_litellm(stage: Stage) -> list[Result]:
    server = _server(stage)
    values: dict[Quantity, list[float]] = {REQUESTS: [], TOKENS: [], TOKENS_TRANSLATED: []}
    sides = ""
    if server.litellm is None:
        stage.say("litellm: left out; --litellm names the command that starts its proxy")
        return []
    litellm = _start_litellm(server.litellm, server.upstream.port)
    try:
        for index in range(2 if stage.quick else 4):
            stage.say(f"litellm: round {index}")
            other = _rates(stage, litellm.client, OPENAI)
            mine = _rates(stage, server.client, OPENAI)
            other_dialect = _rates(stage, server.client, OLLAMA)
            if index:
                values[REQUESTS].append(mine.requests / other.requests)
                values[TOKENS].append(mine.tokens / other.tokens)
                values[TOKENS_TRANSLATED].append(other_dialect.tokens / other.tokens)
                sides = (
                    f"{mine.requests:.0f} / {other.requests:.0f} requests/s, "
                    f"{mine.tokens:,.0f} / {other.tokens:,.0f} tokens/s"
                )
    finally:
        litellm.stop()
    return [of_rounds(quantity, found, sides) for quantity, found in values.items()]


def _start_litellm(command: Path, upstream_port: int) -> Started:
    """Raises BenchError when it does not answer within two minutes."""
    params = {
        "model": f"openai/{MODEL}",
        "api_base": f"http://127.0.0.1:{upstream_port}/v1",
        "api_key": "none",
    }
    config = Path(tempfile.mkdtemp(prefix="npuproxy-bench-")) / "config.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": params}]}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    litellm = Started(
        [str(command), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)], port
    )
    deadline = time.monotonic() + LITELLM_START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if _asked(litellm.client, OPENAI, _chat(1)).status == 200:
                return litellm
        time.sleep(0.5)
    litellm.stop()
    raise BenchError(f"LiteLLM's proxy gave no answer within {LITELLM_START_S:g} s")


def _rates(stage: Stage, client: Client, path: str) -> Rates:
    """Of eight clients at once: whole answers of a token, and streams of many."""
    turns, tokens = (3, 200) if stage.quick else (40, 2000)
    body = _chat(1, path=path) | {"stream": False}
    began = time.perf_counter()
    for _ in range(turns):
        exchanges = [client.post(path, body) for _ in range(CLIENTS)]
        client.exchange(exchanges)
        _check(exchanges)
    requests = turns * CLIENTS / (time.perf_counter() - began)
    exchanges = [client.post(path, _chat(tokens, path=path)) for _ in range(CLIENTS)]
    began = time.perf_counter()
    client.exchange(exchanges)
    _check(exchanges)
    return Rates(requests, tokens * CLIENTS / (time.perf_counter() - began))


def _chat(tokens: int, pause_us: int = 0, path: str = OPENAI) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": MODEL, "messages": [{"role": "user", "content": "play"}], "stream": True,
    }  # fmt: skip
    if path == OLLAMA:
        return body | {"options": {"num_predict": tokens, "seed": pause_us}}
    return body | {"max_tokens": tokens, "seed": pause_us}


def _asked(client: Client, path: str, body: dict[str, Any]) -> Exchange:
    exchange = client.post(path, body)
    client.exchange([exchange])
    return exchange


def _check(exchanges: Sequence[Exchange]) -> None:
    """Raises BenchError for a request that failed."""
    for exchange in exchanges:
        if exchange.status != 200:
            raise BenchError(f"a request failed: {exchange.data[-300:].decode(errors='replace')}")


def _server(stage: Stage) -> ForwardServer:
    server = stage.target
    assert isinstance(server, ForwardServer)
    server.wait_for_model()
    return server


ROWS: Final = (
    Row(tuple(ADDED.values()), added),
    Row(tuple(CPU.values()), cpu),
    Row((TRANSLATED,), translated),
    Row((REQUESTS, TOKENS, TOKENS_TRANSLATED), beside_litellm),
)
