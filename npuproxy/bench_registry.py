"""`bench --registry`: what a full registry costs, over HTTP: a server with its rows, beside one that has two models.

Both servers are of this run, with data folders of their own. Queries are counted where they are made: the full server
writes the name of the thread into a file for every statement that it sends to its database (`serve_counted`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from django.db.backends.signals import connection_created

from inference.bench import Row
from inference.bench_rows import PAUSE_S, Stage
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, of_rounds, percentile
from npuproxy.bench_client import Exchange, post
from npuproxy.bench_server import ServerTarget
from registry.database_thread import PREFIX

MODELS: Final = 1000
DOWNLOADS: Final = 10_000
QUICK: Final = 10
"""How much smaller a quick run's tables are."""
LISTS: Final = ("model", "download", "alias", "compilecache", "device", "usage")
QUERY_LOG: Final = "queries.log"
PARTS: Final = 5
IDLE_S: Final = 10.0

TAGS_P50 = Quantity(name="tags", what="/api/tags, 1,000 models: p50", unit="ms", aim=Aim(50))
TAGS_P99 = Quantity(name="tags", what="/api/tags, 1,000 models: p99", unit="ms", aim=Aim(50))
CHAT_P50 = Quantity(
    name="chat", what="a chat, 1,000 models and 10,000 downloads − 2 models: p50s", unit="ms", aim=Aim(1)
)
CHAT_P99 = Quantity(
    name="chat", what="a chat, 1,000 models and 10,000 downloads − 2 models: p99s", unit="ms", aim=Aim(3)
)
WRITTEN_TAGS = Quantity(
    name="written", what="/api/tags right after a model was written: p50", unit="ms", aim=Aim(50)
)
WRITTEN_CHAT = Quantity(
    name="written", what="a chat right after a model was written: p50", unit="ms", aim=Aim(50)
)
QUERIES = Quantity(name="queries", what="queries a chat, beyond those of the idle server", aim=Aim(0.05))
ADMIN_QUERIES = Quantity(name="admin", what="queries of the list in admin that makes most", aim=Aim(20))
ADMIN_TIME = Quantity(name="admin", what="the slowest list in admin", unit="ms")


class FullServer(ServerTarget):
    """A server with `models` and `downloads` rows, whose queries are counted."""

    def __init__(self, device: str, models: int, downloads: int) -> None:
        super().__init__({}, device)
        self.models, self._downloads = models, downloads
        self.session = ""
        """Of a signed-in admin."""

    def _command(self) -> list[str]:
        return ["bench", "--serve-counted", str(self._log)]

    def _register(self, environment: dict[str, str]) -> None:
        self.session = self._run_command(
            ["bench", "--seed", str(self.models), str(self._downloads)], environment
        ).strip()

    @property
    def _log(self) -> Path:
        return self._folder / QUERY_LOG

    def queries(self) -> Counter[str]:
        """Statements so far, by the thread that made them."""
        return Counter(self._log.read_text("utf-8").splitlines())


def serve_counted(path: Path, serve: Callable[[], None]) -> None:
    """Serves, and writes a line for each statement of this process."""
    log = path.open("a", buffering=1, encoding="utf-8")

    def count(execute: Callable[..., Any], *arguments: Any) -> Any:
        log.write(f"{threading.current_thread().name}\n")
        return execute(*arguments)

    def connected(connection: Any, **_: Any) -> None:
        if count not in connection.execute_wrappers:
            connection.execute_wrappers.append(count)

    connection_created.connect(connected, weak=False)
    with log:
        serve()


# --- the rows -------------------------------------------------------------------------------------------------


def tags(stage: Stage) -> list[Result]:
    target = _full(stage)
    first = _ms(_asked(target, "/api/tags"))  # imports what answers it
    times: list[float] = []
    for _ in range(20 if stage.quick else 300):
        exchange = _asked(target, "/api/tags")
        times.append(_ms(exchange))
        time.sleep(PAUSE_S)
    listed = exchange.lines()[0]["models"]
    if len(listed) < target.models:
        raise BenchError(f"/api/tags lists {len(listed)} models")
    note = f"{len(exchange.data) / 1e3:.0f} KB an answer; the first one after the start took {first:.0f} ms"
    return [_percentile(TAGS_P50, times, 0.5, note), _percentile(TAGS_P99, times, 0.99)]


def chat(stage: Stage) -> list[Result]:
    """One token of `demo`, its prompt cached, in turn; who begins alternates."""
    full, few = _full(stage), ServerTarget({}, "CPU")
    try:
        few.start()
        sides = (full, few)
        for side in sides:
            side.load("demo")
            _chat(side)
        for side in () if stage.quick else sides:
            side.settle()
        times: tuple[list[float], list[float]] = ([], [])
        for index in range(10 if stage.quick else 300):
            for which in (0, 1) if index % 2 else (1, 0):
                times[which].append(_ms(_chat(sides[which])))
                time.sleep(PAUSE_S)
    finally:
        few.stop()
    return [_difference(CHAT_P50, *times, 0.5), _difference(CHAT_P99, *times, 0.99)]


def written(stage: Stage) -> list[Result]:
    """Who asks first after a write waits until the rows in memory are those of the database."""
    target = _full(stage)
    target.load("demo")
    copy = post("/api/copy", {"source": "demo", "destination": "bench-copy"})
    listed: list[float] = []
    answered: list[float] = []
    for _ in range(5 if stage.quick else 50):
        _whole(target, copy)
        listed.append(_ms(_asked(target, "/api/tags")))
        time.sleep(PAUSE_S)
        _whole(target, copy)
        answered.append(_ms(_chat(target)))
        time.sleep(PAUSE_S)
    return [_percentile(WRITTEN_TAGS, listed, 0.5), _percentile(WRITTEN_CHAT, answered, 0.5)]


def queries(stage: Stage) -> list[Result]:
    """All statements while chats run, less what as long a time without any makes."""
    target = _full(stage)
    target.load("demo")
    if not stage.quick:
        target.settle()
    idle_s = 2.0 if stage.quick else IDLE_S
    chats = 20 if stage.quick else 300
    values: list[float] = []
    for _ in range(2 if stage.quick else PARTS):
        already = target.queries().total()
        time.sleep(idle_s)
        idle_rate = (target.queries().total() - already) / idle_s
        before, began = target.queries(), time.perf_counter()
        for _ in range(chats):
            _chat(target)
        made, took = target.queries() - before, time.perf_counter() - began
        values.append(max(0.0, made.total() - idle_rate * took) / chats)
    outside = sum(count for thread, count in made.items() if not thread.startswith(PREFIX))
    note = f"the last {chats} chats: {made.total()} in {took:.1f} s, {outside} of them by threads that serve requests"
    return [of_rounds(QUERIES, values, f"idle: {idle_rate:.1f} a second", [note])]


def admin(stage: Stage) -> list[Result]:
    target = _full(stage)
    counts: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    for table in LISTS:
        for turn in range(3 if stage.quick else 8):
            before = target.queries()
            exchange = _asked(target, f"/admin/registry/{table}/", target.session)
            made = target.queries() - before
            if turn:  # the first one compiles templates
                times.setdefault(table, []).append(_ms(exchange))
                counts[table] = sum(count for thread, count in made.items() if not thread.startswith(PREFIX))
    medians = {table: percentile(values, 0.5) for table, values in times.items()}
    slowest = max(medians, key=medians.__getitem__)
    return [
        of_rounds(
            ADMIN_QUERIES,
            [float(max(counts.values()))],
            ", ".join(f"{table} {n}" for table, n in counts.items()),
        ),
        of_rounds(
            ADMIN_TIME,
            times[slowest],
            ", ".join(f"{table} {median:.0f} ms" for table, median in medians.items()),
        ),
    ]


ROWS: tuple[Row, ...] = (
    Row((TAGS_P50, TAGS_P99), tags),
    Row((CHAT_P50, CHAT_P99), chat),
    Row((WRITTEN_TAGS, WRITTEN_CHAT), written),
    Row((QUERIES,), queries),
    Row((ADMIN_QUERIES, ADMIN_TIME), admin),
)


# --- inside ---------------------------------------------------------------------------------------------------


def _full(stage: Stage) -> FullServer:
    return cast(FullServer, stage.target)


def _asked(target: ServerTarget, path: str, session: str = "") -> Exchange:
    cookie = f"Cookie: npuproxy_session={session}\r\n" if session else ""
    return _whole(target, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n".encode())


def _chat(target: ServerTarget) -> Exchange:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "How do I pull a model?"}],
        "think": False,
        "options": {"temperature": 0, "num_predict": 1},
    }
    return _whole(target, post("/api/chat", body))


def _whole(target: ServerTarget, request: bytes) -> Exchange:
    exchange = Exchange(request=request)
    target.exchange([exchange])
    if exchange.status != 200:
        raise BenchError(f"status {exchange.status}: {exchange.data[-300:].decode(errors='replace')}")
    return exchange


def _ms(exchange: Exchange) -> float:
    return (exchange.arrivals[-1][0] - exchange.start_s) * 1000


def _parts(values: Sequence[float]) -> list[Sequence[float]]:
    length = max(1, len(values) // PARTS)
    return [values[start : start + length] for start in range(0, length * PARTS, length) if values[start:]]


def _percentile(quantity: Quantity, values: Sequence[float], share: float, *notes: str) -> Result:
    """Of all values; the spread is that of five parts of them."""
    parts = [percentile(part, share) for part in _parts(values)]
    return Result(
        quantity=quantity,
        value=percentile(values, share),
        low=min(parts),
        high=max(parts),
        rounds=len(values),
        notes=notes,
    )


def _difference(quantity: Quantity, ours: Sequence[float], theirs: Sequence[float], share: float) -> Result:
    pairs = zip(_parts(ours), _parts(theirs), strict=True)
    parts = [percentile(a, share) - percentile(b, share) for a, b in pairs]
    a, b = percentile(ours, share), percentile(theirs, share)
    return Result(
        quantity=quantity,
        value=a - b,
        low=min(parts),
        high=max(parts),
        rounds=len(ours),
        sides=f"{a:.2f} / {b:.2f} ms",
    )
