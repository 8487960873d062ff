"""The rows of the server process: memory for clients that do not read, and what it costs when nobody asks."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import cast

import psutil

from inference.bench_engine import cpu_seconds
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, of_rounds
from npuproxy.bench_client import Client, connect, post
from npuproxy.bench_server import MANAGE, ServerTarget

READERS = 32
RECEIVE_BUFFER_BYTES = 4096
ANSWER_TOKENS = 1500
STREAM_BYTES = 200_000_000
IDLE_S = 20.0
QUIET_DEADLINE_S = 60.0
MB = 1e6

UNREAD = Quantity(
    name="unread", what="memory growth with 32 clients that read nothing", unit="MB", aim=Aim(5)
)
UNREAD_STREAM = Quantity(
    name="unread-stream", what="memory growth with a 200 MB stream, unread, then read", unit="MB", aim=Aim(5)
)
IDLE_MEMORY = Quantity(name="idle", what="idle, no model: PSS of all processes", unit="MB", aim=Aim(300))
IDLE_CPU = Quantity(name="idle", what="idle, no model: CPU, of a core", unit="%", aim=Aim(0.5))


def _server(stage: Stage) -> ServerTarget:
    return cast(ServerTarget, stage.target)


def _share_bytes(process: psutil.Process) -> int:
    """The share of a process: PSS where the system knows it, else what it alone uses."""
    full = process.memory_full_info()
    return int(getattr(full, "pss", 0) or full.uss)


def _own_bytes(process: psutil.Process) -> int:
    """What the process wrote itself: unlike USS it stays the same when another user of a library ends."""
    plain = process.memory_info()
    shared = getattr(plain, "shared", None)
    return int(process.memory_full_info().uss if shared is None else plain.rss - shared)


def _peak_until_quiet(process: psutil.Process) -> int:
    """Until nothing from the process down takes CPU for a second."""
    deadline = time.monotonic() + QUIET_DEADLINE_S
    peak = 0
    while time.monotonic() < deadline:
        before = cpu_seconds(process)
        for _ in range(5):
            peak = max(peak, _own_bytes(process))
            time.sleep(0.2)
        if cpu_seconds(process) - before < 0.1:
            break
    return peak


# --- clients that do not read -------------------------------------------------------------------------------


def unread(stage: Stage) -> list[Result]:
    """Against the memory after as many clients that did read; `demo`, so hot that it does not stop."""
    stage.clear()
    target = _server(stage)
    target.start()
    target.load("demo")
    tokens = 200 if stage.quick else ANSWER_TOKENS
    growth: list[float] = []
    for index in range(2 if stage.quick else 5):
        stage.say(f"unread: round {index + 1}")
        _read_all(target, tokens)
        target.settle()
        before = _own_bytes(target.process)
        growth.append((_peak_unread(target, tokens) - before) / MB)
    return [of_rounds(UNREAD, growth)]


def _babble(tokens: int, seed: int) -> bytes:
    """Every token is as likely as the end, one in two thousand."""
    options = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": seed, "num_predict": tokens}
    question = [{"role": "user", "content": "How do I pull a model?"}]
    return post("/api/chat", {"model": "demo", "messages": question, "think": False, "options": options})


def _read_all(target: ServerTarget, tokens: int) -> None:
    connections = [connect(target.address) for _ in range(READERS)]
    for seed, connection in enumerate(connections):
        connection.settimeout(120)
        connection.sendall(_babble(tokens, seed))
    for connection in connections:
        with connection:
            tail = b""
            while not tail.endswith(b"\r\n0\r\n\r\n") and (data := connection.recv(1 << 16)):
                tail = (tail + data)[-16:]


def _peak_unread(target: ServerTarget, tokens: int) -> int:
    """Until every answer is generated."""
    connections = [connect(target.address, RECEIVE_BUFFER_BYTES) for _ in range(READERS)]
    try:
        for seed, connection in enumerate(connections):
            connection.sendall(_babble(tokens, seed))
        return _peak_until_quiet(target.process)
    finally:
        for connection in connections:
            connection.close()


def unread_stream(stage: Stage) -> list[Result]:
    """A process with the server's HTTP layer alone."""
    stage.clear()
    total = 20_000_000 if stage.quick else STREAM_BYTES
    growth: list[float] = []
    for index in range(2 if stage.quick else 5):
        stage.say(f"unread-stream: round {index + 1}")
        with layer_alone("--serve-stream") as (process, port):
            _take(port, total // 10)
            before = _own_bytes(process)
            growth.append((_peak_of_stream(process, port, total) - before) / MB)
    return [of_rounds(UNREAD_STREAM, growth)]


@contextlib.contextmanager
def layer_alone(*arguments: str) -> Iterator[tuple[psutil.Process, int]]:
    """The HTTP layer with an application of the benchmark's own: `manage.py bench ARGUMENTS`, and its port."""
    command = [sys.executable, str(MANAGE), "bench", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.strip().isdigit():
                raise BenchError("the HTTP layer did not start by itself")
            yield psutil.Process(process.pid), int(line)
        finally:
            process.terminate()


def _take(port: int, total: int) -> None:
    client = Client(port)
    client.exchange([client.post("/api/chat", {"bytes": total})])
    client.close()


def _peak_of_stream(process: psutil.Process, port: int, total: int) -> int:
    """Not read until the server stops writing, then read to its end."""
    with connect(("127.0.0.1", port), RECEIVE_BUFFER_BYTES) as connection:
        connection.sendall(post("/api/chat", {"bytes": total}))
        peak = _peak_until_quiet(process)
        connection.settimeout(60)
        received, next_look = 0, 0
        tail = b""
        while not tail.endswith(b"\r\n0\r\n\r\n") and (data := connection.recv(1 << 18)):
            tail = (tail + data)[-16:]
            received += len(data)
            if received >= next_look:
                peak = max(peak, _own_bytes(process))
                next_look += total // 20
        if received < total:
            raise BenchError(f"the stream ended after {received} of {total} bytes")
        return peak


# --- nobody asks --------------------------------------------------------------------------------------------


def idle(stage: Stage) -> list[Result]:
    """A server that has just started: its own process and the spare worker."""
    stage.clear()
    target = _server(stage)
    target.start()
    target.settle()
    seconds = 2.0 if stage.quick else IDLE_S
    sizes: list[float] = []
    shares: list[float] = []
    for index in range(2 if stage.quick else 5):
        stage.say(f"idle: window {index + 1}")
        before, began = cpu_seconds(target.process), time.perf_counter()
        time.sleep(seconds)
        shares.append((cpu_seconds(target.process) - before) / (time.perf_counter() - began) * 100)
        processes = [target.process, *target.process.children(recursive=True)]
        each = [_share_bytes(process) / MB for process in processes]
        sizes.append(sum(each))
    parts = " + ".join(f"{size:.0f}" for size in each)
    return [
        of_rounds(IDLE_MEMORY, sizes, notes=[f"server + spare worker: {parts} MB"]),
        of_rounds(
            IDLE_CPU, shares, notes=[f"windows of {seconds:g} s; median {statistics.median(shares):.2f} %"]
        ),
    ]
