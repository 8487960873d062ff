"""The rows of speed: decode, TTFT, many streams, cached prefixes, a neighbour's stall. Both sides in turn."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from inference.bench_models import BENCH_NAME, Subject, embedder
from inference.bench_sides import BareEmbedding, BareSide, BenchError, Call, Target, Trace
from inference.bench_table import Aim, Quantity, Result, of_rounds, percentile
from inference.worker.bare import Kind

QUESTION = "How do I pull a model?"
STREAMS = 16
PREFIX_TOKENS = 1000
PAUSE_S = 0.005
"""Between the two halves of a TTFT pair: what one side still clears up must not be the other one's time."""

DECODE = Quantity(
    name="decode", what="decode rate of one stream / bare (100 M)", aim=Aim(0.98, at_most=False)
)
DECODE_DEMO = Quantity(name="decode-demo", what="decode rate of one stream / bare (`demo`)")
TTFT_P50 = Quantity(name="ttft", what="TTFT − bare, prompt cached: p50s (100 M)", unit="ms", aim=Aim(1))
TTFT_P99 = Quantity(name="ttft", what="TTFT − bare, prompt cached: p99s (100 M)", unit="ms", aim=Aim(3))
TTFT_DEMO_P50 = Quantity(name="ttft-demo", what="TTFT − bare, prompt cached: p50s (`demo`)", unit="ms")
TTFT_DEMO_P99 = Quantity(name="ttft-demo", what="TTFT − bare, prompt cached: p99s (`demo`)", unit="ms")
STREAMS_16 = Quantity(
    name="streams", what="16 streams, total rate / bare batching (100 M)", aim=Aim(0.95, at_most=False)
)
PREFIX = Quantity(name="prefix", what="TTFT with 1,000 tokens cached / cold (100 M)", aim=Aim(0.06))
NEIGHBOUR = Quantity(
    name="neighbour",
    what="worst gap of a stream while 2,000 prompt tokens arrive (100 M)",
    unit="ms",
    aim=Aim(150),
)


class Sizes(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 7
    pairs: int = 300
    decode_tokens: int = 256
    stream_tokens: int = 96
    running_tokens: int = 512
    arriving_tokens: int = 2000
    arrives_s: float = 0.5
    embed_batches: int = 20


QUICK = Sizes(
    rounds=2,
    pairs=10,
    decode_tokens=24,
    stream_tokens=8,
    running_tokens=96,
    arriving_tokens=300,
    arrives_s=0.05,
    embed_batches=2,
)


class Stage:
    """What every row works with. Bare sides are started when first asked for and kept until `clear`."""

    def __init__(
        self, target: Target, subjects: Sequence[Subject], quick: bool, say: Callable[[str], None]
    ) -> None:
        self.target = target
        self.quick = quick
        self.sizes = QUICK if quick else Sizes()
        self.say = say
        self._subjects = {subject.name: subject for subject in subjects}
        self._bare: dict[tuple[str, Kind], BareSide] = {}
        self._embedding: BareEmbedding | None = None

    @property
    def demo(self) -> Subject:
        return self._subjects["demo"]

    @property
    def bench(self) -> Subject:
        return self._subjects[BENCH_NAME]

    def bare(self, subject: Subject, kind: Kind) -> BareSide:
        key = (subject.name, kind)
        if key not in self._bare:
            self.say(f"loading {subject.name} for the bare side ({kind})")
            self._bare[key] = subject.bare(kind)
        return self._bare[key]

    def bare_embedding(self) -> BareEmbedding:
        if self._embedding is None:
            self.say("loading all-minilm for the bare side")
            self._embedding = BareEmbedding(embedder())
        return self._embedding

    def clear(self) -> None:
        """Ends every bare side."""
        for side in (*self._bare.values(), *((self._embedding,) if self._embedding else ())):
            side.close()
        self._bare.clear()
        self._embedding = None

    def run(self, calls: Sequence[Call]) -> list[Trace]:
        """On the product. Raises BenchError for a request that failed or whose prompt came out otherwise."""
        traces = self.target.run(calls)
        for call, trace in zip(calls, traces, strict=True):
            if trace.error:
                raise BenchError(f"a request failed: {trace.error}")
            if trace.prompt_tokens != len(call.ids):
                raise BenchError(f"a prompt has {trace.prompt_tokens} tokens there and {len(call.ids)} here")
        return traces


class Paired:
    """Rounds of two sides in which both made the same number of tokens."""

    def __init__(self) -> None:
        self.ours: list[list[Trace]] = []
        self.bare: list[list[Trace]] = []
        self._left_out: list[str] = []

    def add(self, ours: list[Trace], bare: list[Trace]) -> None:
        made, wanted = sum(trace.tokens for trace in ours), sum(trace.tokens for trace in bare)
        if made == wanted:
            self.ours.append(ours)
            self.bare.append(bare)
        else:
            self._left_out.append(f"{made} tokens against {wanted}")

    @property
    def notes(self) -> list[str]:
        left_out = self._left_out
        return [f"{len(left_out)} rounds left out: {left_out[0]}"] if left_out else []


def _round(stage: Stage, calls: list[Call], bare: BareSide, index: int, paired: Paired) -> None:
    """Ours first in one round, the bare side first in the next."""
    if index % 2:
        theirs = bare.run(calls)
        ours = stage.run(calls)
    else:
        ours = stage.run(calls)
        theirs = bare.run(calls)
    paired.add(ours, theirs)


# --- decode rate --------------------------------------------------------------------------------------------


def decode(stage: Stage) -> list[Result]:
    calls = stage.bench.steady(stage.bare(stage.bench, "step"), 1, stage.sizes.decode_tokens)
    return [_decode(stage, stage.bench, DECODE, calls)]


def decode_demo(stage: Stage) -> list[Result]:
    """`demo` stops by itself: on both sides after the same token, since it loads with exact arithmetic."""
    calls = [stage.demo.call(QUESTION, 256)]
    return [_decode(stage, stage.demo, DECODE_DEMO, calls)]


def _decode(stage: Stage, subject: Subject, quantity: Quantity, calls: list[Call]) -> Result:
    pairs: dict[Kind, Paired] = {"step": Paired(), "stream": Paired()}
    for kind in pairs:
        stage.bare(subject, kind).run(calls)
    stage.run(calls)
    for index in range(stage.sizes.rounds):
        stage.say(f"{quantity.name}: round {index + 1} of {stage.sizes.rounds}")
        for kind, paired in pairs.items():
            _round(stage, calls, stage.bare(subject, kind), index, paired)
    rates = {kind: _median_rate(paired.bare) for kind, paired in pairs.items()}
    faster = max(rates, key=lambda kind: rates[kind])
    paired = pairs[faster]
    ratios = [a[0].decode_rate / b[0].decode_rate for a, b in zip(paired.ours, paired.bare, strict=True)]
    others = ", ".join(f"{kind} {rate:.0f}" for kind, rate in rates.items())
    sides = f"{_median_rate(paired.ours):.0f} / {rates[faster]:.0f} tok/s"
    return of_rounds(quantity, ratios, sides, [*paired.notes, f"bare pipelines: {others} tok/s"])


def _median_rate(rounds: list[list[Trace]]) -> float:
    return statistics.median([traces[0].decode_rate for traces in rounds]) if rounds else 0.0


# --- TTFT ---------------------------------------------------------------------------------------------------


def ttft(stage: Stage) -> list[Result]:
    calls = stage.bench.steady(stage.bare(stage.bench, "step"), 1, 4)
    return _ttft(stage, stage.bench, calls, TTFT_P50, TTFT_P99)


def ttft_demo(stage: Stage) -> list[Result]:
    calls = [stage.demo.call(QUESTION, 4)]
    return _ttft(stage, stage.demo, calls, TTFT_DEMO_P50, TTFT_DEMO_P99)


def _ttft(stage: Stage, subject: Subject, calls: list[Call], p50: Quantity, p99: Quantity) -> list[Result]:
    pairs = stage.sizes.pairs
    kinds: tuple[Kind, Kind] = ("step", "stream")
    first = {kind: _median_ttft(stage.bare(subject, kind), calls, 5 if stage.quick else 20) for kind in kinds}
    bare = stage.bare(subject, min(kinds, key=lambda kind: first[kind]))
    stage.run(calls)
    ours: list[float] = []
    theirs: list[float] = []
    for index in range(pairs):
        if index % 50 == 0:
            stage.say(f"{p50.name}: pair {index} of {pairs}")
        turns: list[tuple[Callable[[Sequence[Call]], list[Trace]], list[float]]]
        turns = [(stage.run, ours), (bare.run, theirs)]
        for run, times in turns if index % 2 else reversed(turns):
            time.sleep(PAUSE_S)
            times.append(run(calls)[0].ttft_s * 1000)
    note = ", ".join(f"{kind} {value * 1000:.2f}" for kind, value in first.items())
    return [
        difference(quantity, share, ours, theirs, f"bare pipelines before the pairs: {note} ms")
        for quantity, share in ((p50, 0.5), (p99, 0.99))
    ]


def _median_ttft(bare: BareSide, calls: list[Call], count: int) -> float:
    bare.run(calls)
    return statistics.median(bare.run(calls)[0].ttft_s for _ in range(count))


def difference(
    quantity: Quantity, share: float, ours: list[float], theirs: list[float], *notes: str
) -> Result:
    """Over all pairs; the spread is that of five parts of them."""
    size = max(1, len(ours) // 5)
    parts = [
        percentile(ours[at : at + size], share) - percentile(theirs[at : at + size], share)
        for at in range(0, size * 5, size)
    ]
    mine, other = percentile(ours, share), percentile(theirs, share)
    return Result(
        quantity=quantity,
        value=mine - other,
        low=min(parts),
        high=max(parts),
        rounds=len(ours),
        sides=f"{mine:.2f} / {other:.2f} ms",
        notes=notes,
    )


# --- many streams -------------------------------------------------------------------------------------------


def streams(stage: Stage) -> list[Result]:
    bare = stage.bare(stage.bench, "step")
    calls = stage.bench.steady(bare, STREAMS, stage.sizes.stream_tokens)
    paired = Paired()
    bare.run(calls)
    stage.run(calls)
    for index in range(stage.sizes.rounds):
        stage.say(f"streams: round {index + 1} of {stage.sizes.rounds}")
        _round(stage, calls, bare, index, paired)
    ours, theirs = ([_total_rate(traces) for traces in side] for side in (paired.ours, paired.bare))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    sides = f"{statistics.median(ours):.0f} / {statistics.median(theirs):.0f} tok/s" if ours else ""
    return [of_rounds(STREAMS_16, ratios, sides, paired.notes)]


def _total_rate(traces: list[Trace]) -> float:
    return sum(trace.tokens for trace in traces) / max(trace.end_s for trace in traces)


# --- prompts ------------------------------------------------------------------------------------------------


def prefix(stage: Stage) -> list[Result]:
    """Each round has a prefix that nobody has seen, and asks two questions after it."""
    bare = stage.bare(stage.bench, "step")
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    seeds = itertools.count(time.time_ns())
    for index in range(stage.sizes.rounds):
        stage.say(f"prefix: round {index + 1} of {stage.sizes.rounds}")
        text = stage.bench.text(PREFIX_TOKENS, next(seeds))
        cold, warm = (
            stage.bench.call(f"{text} {question}", 2) for question in ("And the first?", "Now another.")
        )
        ours.append((stage.run([cold])[0].ttft_s, stage.run([warm])[0].ttft_s))
        theirs.append((bare.run([cold])[0].ttft_s, bare.run([warm])[0].ttft_s))
    ratios = [warm_s / cold_s for cold_s, warm_s in ours]
    bare_ratio = statistics.median(warm_s / cold_s for cold_s, warm_s in theirs)
    sides = f"{statistics.median(ratios):.3f} / {bare_ratio:.3f}"
    cold_ms, warm_ms = (statistics.median(pair[part] for pair in ours) * 1000 for part in (0, 1))
    return [of_rounds(PREFIX, ratios, sides, [f"cold {cold_ms:.0f} ms, cached {warm_ms:.1f} ms"])]


def neighbour(stage: Stage) -> list[Result]:
    bare = stage.bare(stage.bench, "step")
    (running,) = stage.bench.steady(bare, 1, stage.sizes.running_tokens)
    ours: list[float] = []
    theirs: list[float] = []
    seeds = itertools.count(time.time_ns())
    for index in range(stage.sizes.rounds):
        stage.say(f"neighbour: round {index + 1} of {stage.sizes.rounds}")
        text = stage.bench.text(stage.sizes.arriving_tokens, next(seeds))
        calls = [running, stage.bench.call(text, 2, start_s=stage.sizes.arrives_s)]
        ours.append(_worst_gap(*stage.run(calls)) * 1000)
        theirs.append(_worst_gap(*bare.run(calls)) * 1000)
    return [of_rounds(NEIGHBOUR, ours, f"{statistics.median(ours):.0f} / {statistics.median(theirs):.0f} ms")]


def _worst_gap(running: Trace, arriving: Trace) -> float:
    """Between two tokens of `running`, from the arrival of the other prompt to its first token."""
    times = [at for at in running.arrivals if at >= arriving.start_s - 0.1]
    gaps = [
        b - a for a, b in itertools.pairwise(times) if a <= arriving.arrivals[0] and b >= arriving.start_s
    ]
    if not gaps or running.end_s < arriving.arrivals[0]:
        raise BenchError("the running stream ended before the other prompt had arrived")
    return max(gaps)
