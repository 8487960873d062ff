"""`bench --routing`: a server that plays tokens, asked directly and through npuproxy, in one run."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psutil

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
BARE: Final = "of it Daphne and aiohttp, bare"
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


class Started:
    """A child process that serves on a port of its own."""

    def __init__(self, command: Sequence[str], port: int = 0, environment: dict[str, str] | None = None):
        """`port` 0: it prints the one it has."""
        self.log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - `stop` closes it
        output = subprocess.PIPE if not port else self.log
        self._process = subprocess.Popen(command, stdout=output, stderr=self.log, env=environment, text=True)
        if not port:
            assert self._process.stdout is not None
            port = int(self._process.stdout.readline() or 0)
        self.client = Client(port)
        self.port = port

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        self.log.seek(0)
        return self.log.read().strip()[-500:]

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.log.close()


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

    @cached_property
    def bare(self) -> Started:
        """The same way without us, for the rows that say what it costs."""
        return Started([sys.executable, str(MANAGE), "bench", "--serve-bare", str(self.upstream.port)])

    def stop(self) -> None:
        super().stop()
        if "bare" in self.__dict__:
            self.bare.stop()
        self.upstream.stop()

    def wait_for_model(self) -> None:
        """Until it has read the backend's list. Raises BenchError."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            exchange = asked(self._client_now, OPENAI, chat(1))
            if exchange.status == 200:
                return
            time.sleep(0.1)
        raise BenchError(f"no answer through the backend: {exchange.data[-300:].decode(errors='replace')}")

    @property
    def client(self) -> Client:
        return self._client_now


def added(stage: Stage) -> list[Result]:
    """The same requests in turns: one set directly, one set through, one through what all of this stands on."""
    server = server_of(stage)
    sides = [(server.client, list[float]()) for server in (server, server.upstream, server.bare)]
    for index in range(6 if stage.quick else 150):
        if index % 25 == 0:
            stage.say(f"forward: round {index} of 150")
        for client, times in sides[index % 3 :] + sides[: index % 3]:
            found = _first_bytes(client)
            if index:  # the first one connects
                times += found
    (_, ours), (_, theirs), (_, bare) = sides
    results = []
    for share, quantity in ADDED.items():
        floor = difference(quantity, share, bare, theirs).value
        results.append(difference(quantity, share, ours, theirs, f"{BARE}: {quantity.shown(floor)}"))
    return results


def _first_bytes(client: Client) -> list[float]:
    """Milliseconds until the first byte of the body; each client's request begins at a moment of its own."""
    exchanges = [client.post(OPENAI, chat(1), random.random() * APART_S) for _ in range(CLIENTS)]
    client.exchange(exchanges)
    check(exchanges)
    return [(exchange.body_arrivals()[0] - exchange.start_s) * 1000 for exchange in exchanges]


def cpu(stage: Stage) -> list[Result]:
    server, results = server_of(stage), []
    for streams, quantity in CPU.items():
        ours, bare = _cpu_rounds(stage, [server, server.bare], OPENAI, streams)
        floor = of_rounds(quantity, bare).value
        results.append(of_rounds(quantity, ours, notes=[f"{BARE}: {quantity.shown(floor)}"]))
    return results


def translated(stage: Stage) -> list[Result]:
    (ours,) = _cpu_rounds(stage, [server_of(stage)], OLLAMA, 32)
    return [of_rounds(TRANSLATED, ours)]


def _cpu_rounds(
    stage: Stage, servers: Sequence[ForwardServer | Started], path: str, streams: int
) -> list[list[float]]:
    """Milliseconds of each server's own process a token, at a hundred tokens a second and stream."""
    tokens, pause_us = (60, 5_000) if stage.quick else (600, 10_000)
    if streams == 1 and not stage.quick:
        tokens, pause_us = 3000, 2_000
    values: list[list[float]] = [[] for _ in servers]
    for index in range((2 if stage.quick else 5) + 1):
        stage.say(f"forward-cpu: {path}, {streams} streams, round {index}")
        for server, found in zip(servers, values, strict=True):
            body = chat(tokens, pause_us, path)
            starts = [number * pause_us / 1e6 / streams for number in range(streams)]
            exchanges = [server.client.post(path, body, start_s) for start_s in starts]
            before = _own_cpu_seconds(server.process)
            server.client.exchange(exchanges)
            spent = _own_cpu_seconds(server.process) - before
            check(exchanges)
            if index:
                found.append(spent / (tokens * streams) * 1000)
    return values


def _own_cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def chat(tokens: int, pause_us: int = 0, path: str = OPENAI) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": MODEL, "messages": [{"role": "user", "content": "play"}], "stream": True,
    }  # fmt: skip
    if path == OLLAMA:
        return body | {"options": {"num_predict": tokens, "seed": pause_us}}
    return body | {"max_tokens": tokens, "seed": pause_us}


def asked(client: Client, path: str, body: dict[str, Any]) -> Exchange:
    exchange = client.post(path, body)
    client.exchange([exchange])
    return exchange


def check(exchanges: Sequence[Exchange]) -> None:
    """Raises BenchError for a request that failed."""
    for exchange in exchanges:
        if exchange.status != 200:
            raise BenchError(f"a request failed: {exchange.data[-300:].decode(errors='replace')}")


def server_of(stage: Stage) -> ForwardServer:
    server = stage.target
    assert isinstance(server, ForwardServer)
    server.wait_for_model()
    return server


ROWS: Final = (
    Row(tuple(ADDED.values()), added),
    Row(tuple(CPU.values()), cpu),
    Row((TRANSLATED,), translated),
)
