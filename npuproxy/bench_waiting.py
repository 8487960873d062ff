"""`bench --routing`: what a crowd of best-effort streams costs a critical request on a device that batches.

Each round asks the same criticals alone and beside the crowd, in turn, so that both sides have the machine alike. One
engine step of the crowd is a request's due anyhow: it begins with the next one.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from inference.bench import Row
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, percentile
from npuproxy.bench_client import Exchange, post
from npuproxy.bench_server import ServerTarget

CROWD: Final = 20
EVERY_S: Final = 0.15
"""Between two criticals."""
MOST_TOKENS: Final = 3500
"""Of a stream, beside its prompt in the context of `demo`."""
SETTLE_S: Final = 1.0
"""Until every stream of the crowd has its first token."""
CRITICAL: Final = Quantity(
    name="critical",
    what=f"TTFT p99 of critical requests beside {CROWD} best-effort streams, less one step / alone (`demo`)",
    aim=Aim(1.5),
)


def critical(stage: Stage) -> list[Result]:
    rounds, each = (1, 4) if stage.quick else (8, 25)
    server, numbers = cast(ServerTarget, stage.target), itertools.count(time.time_ns())
    alone: list[float] = []
    beside: list[float] = []
    steps: list[float] = []
    ratios: list[float] = []
    _criticals(server, 2, numbers, [])  # loads the model
    tokens = _tokens(server, each, numbers)
    for index in range(rounds):
        stage.say(f"{CRITICAL.name}: round {index + 1} of {rounds}")
        for crowded in (False, True) if index % 2 else (True, False):
            if not crowded:
                alone += _criticals(server, each, numbers, [])
                continue
            times, streams = _beside(server, each, numbers, tokens)
            beside += times
            steps += [_step_ms(stream) for stream in streams]
        step = statistics.median(steps)
        ratios.append((percentile(beside[-each:], 0.99) - step) / percentile(alone[-each:], 0.99))
    step = statistics.median(steps)
    p50s = [percentile(times, 0.5) for times in (beside, alone)]
    p99s = [percentile(times, 0.99) for times in (beside, alone)]
    return [
        Result(
            quantity=CRITICAL,
            value=(p99s[0] - step) / p99s[1],
            low=min(ratios),
            high=max(ratios),
            rounds=rounds,
            sides=f"p99 {p99s[0]:.1f} / {p99s[1]:.1f} ms",
            notes=(f"one step of the crowd {step:.1f} ms; p50 {p50s[0]:.1f} / {p50s[1]:.1f} ms",),
        )
    ]


class _TooShort(BenchError):
    """The crowd ended before the criticals did."""


def _beside(
    server: ServerTarget, each: int, numbers: itertools.count[int], tokens: int
) -> tuple[list[float], list[Exchange]]:
    """TTFT in ms of each critical, and the crowd. Asked again with longer streams where steps became quicker."""
    while True:
        streams = [_stream(next(numbers), tokens) for _ in range(CROWD)]
        try:
            return _criticals(server, each, numbers, streams), streams
        except _TooShort:
            if tokens >= MOST_TOKENS:
                raise
            tokens = min(MOST_TOKENS, 2 * tokens)


def _criticals(
    server: ServerTarget, count: int, numbers: itertools.count[int], crowd: list[Exchange]
) -> list[float]:
    """TTFT in ms of each; the crowd is asked before and outlives them. Raises BenchError."""
    first_s = SETTLE_S if crowd else 0.0
    asked = [
        _ask("critical", f"Number {next(numbers)}: how do I pull a model?", 2, first_s + place * EVERY_S)
        for place in range(count)
    ]
    server.exchange([*crowd, *asked])
    for exchange in (*crowd, *asked):
        if not exchange.data:
            raise BenchError("the server closed a connection without an answer")
        if exchange.status != 200 or not exchange.body_arrivals():
            raise BenchError(f"status {exchange.status}: {exchange.data[-200:].decode(errors='replace')}")
    last_s = asked[-1].body_arrivals()[-1]
    ran = sum(stream.body_arrivals()[-1] > last_s for stream in crowd)
    if ran < len(crowd):
        raise _TooShort(f"{ran} of {CROWD} streams outlived the critical requests")
    return [(exchange.body_arrivals()[0] - exchange.start_s) * 1000 for exchange in asked]


def _tokens(server: ServerTarget, criticals: int, numbers: itertools.count[int]) -> int:
    """So many that a stream of the crowd outlives the criticals, by the step of a crowd that asks for a few."""
    crowd = [_stream(next(numbers), 48) for _ in range(CROWD)]
    server.exchange(crowd)
    step_s = statistics.median(_step_ms(stream) for stream in crowd) / 1000
    return max(100, min(MOST_TOKENS, int(1.5 * (SETTLE_S + criticals * EVERY_S) / max(step_s, 0.001))))


def _stream(number: int, tokens: int) -> Exchange:
    """It repeats itself and never ends by itself: what was said is made likelier."""
    return _ask("best-effort", f"Number {number}: tell me all.", tokens, 0.0, {"repeat_penalty": 0.1})


def _ask(
    priority: str, prompt: str, tokens: int, start_s: float, more: Mapping[str, float] = MappingProxyType({})
) -> Exchange:
    options = {"temperature": 0.0, "num_predict": tokens, **more}
    request = post("/api/generate", {"model": "demo", "prompt": prompt, "think": False, "options": options})
    head, _, body = request.partition(b"\r\n\r\n")
    return Exchange(request=head + b"\r\nX-Priority: %b\r\n\r\n" % priority.encode() + body, start_s=start_s)


def _step_ms(stream: Exchange) -> float:
    """Between two tokens."""
    times = stream.body_arrivals()
    return statistics.median(b - a for a, b in itertools.pairwise(times)) * 1000 if len(times) > 1 else 0.0


ROWS: Final = (Row((CRITICAL,), critical),)
