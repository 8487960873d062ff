"""What open status pages cost the server: `manage.py bench --page`.

For the CPU, one request is refused every second, so that each second has something to show: what counts is the CPU
time of the server's own process. For the rate, one stream runs as fast as it can, timed where its client reads it.
"""

from __future__ import annotations

import json
import selectors
import socket
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

import msgspec
import psutil

from inference.bench import Row
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, of_rounds
from npuproxy.bench_server import ServerTarget
from npuproxy.bench_socket import upgraded

PAGES, QUICK_PAGES = 500, 50
WATCH_S, QUICK_WATCH_S = 10.0, 2.0
SETTLE_S = 3.0
STREAM_S = 2.5
_LONG = {"type": "string", "pattern": "[a-z]{990}"}

PAGE_CPU = Quantity(
    name="page-cpu", what="CPU with 500 open pages beyond one, of a core", unit="%", aim=Aim(5)
)
PAGE_RATE = Quantity(
    name="page-rate", what="a stream's rate with 500 open pages / one", aim=Aim(0.97, at_most=False)
)


def _open(address: tuple[str, int]) -> socket.socket:
    """A WebSocket of the page, past its handshake."""
    connection = upgraded(address, "/status/ws")
    connection.setblocking(False)
    return connection


@contextmanager
def watching(address: tuple[str, int], count: int) -> Iterator[list[int]]:
    """`count` open pages that read all they are sent; the list holds the bytes so far."""
    received = [0]
    selector = selectors.DefaultSelector()
    pages = [_open(address) for _ in range(count)]
    for page in pages:
        selector.register(page, selectors.EVENT_READ)
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            for key, _ in selector.select(0.2):
                with suppress(BlockingIOError):
                    received[0] += len(cast(socket.socket, key.fileobj).recv(1 << 16))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        over.set()
        thread.join()
        selector.close()
        for page in pages:
            page.close()


@contextmanager
def _news(target: ServerTarget) -> Iterator[None]:
    """A refused request each second."""
    over = threading.Event()

    def refuse() -> None:
        while not over.wait(1.0):
            with suppress(urllib.error.HTTPError):
                _post(target, {"model": "nothing", "messages": []})

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _post(target: ServerTarget, body: dict[str, object]) -> tuple[float, float]:
    """Tokens after the first, and the seconds in which its client read them."""
    host, port = target.address
    request = urllib.request.Request(f"http://{host}:{port}/api/chat", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=300) as answer:
        lines = [(time.perf_counter(), line) for line in answer]
    last: dict[str, float] = json.loads(lines[-1][1])
    if not last.get("done") or len(lines) < 3:
        raise BenchError(f"the stream did not end well: {lines[-1][1][:200]!r}")
    return last["eval_count"] - 1, lines[-2][0] - lines[0][0]  # the last line has no token


def _rate(target: ServerTarget, body: dict[str, object]) -> float:
    """Tokens a second of streams that follow each other for longer than the pages' second."""
    tokens = seconds = 0.0
    while seconds < STREAM_S:
        count, took = _post(target, body)
        tokens, seconds = tokens + count, seconds + took
    return tokens / seconds


def _server(stage: Stage) -> ServerTarget:
    return cast(ServerTarget, stage.target)


def _of(quantity: Quantity, pages: int) -> Quantity:
    """As it was measured: a quick look opens fewer."""
    return msgspec.structs.replace(quantity, what=quantity.what.replace(str(PAGES), str(pages)))


def _share(process: psutil.Process, seconds: float) -> float:
    """Of a core, in per cent: the server's own process, not its workers."""
    before, began = process.cpu_times(), time.perf_counter()
    time.sleep(seconds)
    after, took = process.cpu_times(), time.perf_counter() - began
    return 100 * (after.user - before.user + after.system - before.system) / took


def cpu(stage: Stage) -> list[Result]:
    target, count = _server(stage), QUICK_PAGES if stage.quick else PAGES
    target.start()
    if not stage.quick:
        target.settle()
    seconds = QUICK_WATCH_S if stage.quick else WATCH_S
    alone: list[float] = []
    many: list[float] = []
    with _news(target):
        for index in range(1 if stage.quick else 5):
            for shares, pages in ((alone, 1), (many, count)):
                stage.say(f"page-cpu: round {index + 1}, {pages} open pages")
                with watching(target.address, pages) as received:
                    time.sleep(SETTLE_S)
                    shares.append(_share(target.process, seconds))
                if not received[0]:
                    raise BenchError("the pages were sent nothing")
    more = [share - one for one, share in zip(alone, many, strict=True)]
    sides = f"{statistics.median(alone):.1f} % / {statistics.median(many):.1f} %"
    return [of_rounds(_of(PAGE_CPU, count), more, sides)]


def rate(stage: Stage) -> list[Result]:
    """Tokens a second as the stream's client reads them, one page and many in turn; of each round what other work on
    this machine has disturbed least."""
    target, count = _server(stage), QUICK_PAGES if stage.quick else PAGES
    target.start()
    target.load("demo")
    body: dict[str, object] = {
        "model": "demo", "messages": [{"role": "user", "content": "Go on"}], "format": _LONG, "think": False,
        "options": {"temperature": 0},
    }  # fmt: skip
    _post(target, body)
    alone: list[float] = []
    many: list[float] = []
    for index in range(1 if stage.quick else 5):
        for rates, pages in ((alone, 1), (many, count)):
            stage.say(f"page-rate: round {index + 1}, {pages} open pages")
            with watching(target.address, pages) as received:
                time.sleep(SETTLE_S)
                rates.append(max(_rate(target, body) for _ in range(1 if stage.quick else 3)))
            if not received[0]:
                raise BenchError("the pages were sent nothing")
    ratios = [rate / one for one, rate in zip(alone, many, strict=True)]
    sides = f"{statistics.median(alone):.0f} / {statistics.median(many):.0f} tok/s"
    return [of_rounds(_of(PAGE_RATE, count), ratios, sides)]


ROWS: tuple[Row, ...] = (Row((PAGE_CPU,), cpu), Row((PAGE_RATE,), rate))
