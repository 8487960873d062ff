"""The rows of embeddings: batches, many clients with a text each, one text. Every text is new: no vector is known."""

from __future__ import annotations

import itertools
import random
import statistics
import time
from array import array
from collections.abc import Iterator, Sequence

from inference.bench_models import WORDS
from inference.bench_rows import PAUSE_S, Stage, difference
from inference.bench_sides import BareEmbedding, BenchError, EmbedCall, EmbedDialect, EmbedTrace
from inference.bench_table import Aim, Quantity, Result, of_rounds

BATCH_TEXTS = 32
CLIENTS = 32
TEXT_WORDS = 12
"""With a number before them some 15 tokens: what a sentence has."""
MOST_DIFFERENCE = 0.001
"""Of the product of two vectors of length one from 1."""

BATCHES = Quantity(
    name="embed", what="embeddings, 32 texts a request: rate / bare", aim=Aim(0.95, at_most=False)
)
BATCHES_FLOAT = Quantity(
    name="embed-openai",
    what="embeddings, 32 texts a request of /v1/embeddings, numbers: rate / bare",
    aim=Aim(0.95, at_most=False),
)
BATCHES_BASE64 = Quantity(
    name="embed-openai",
    what="embeddings, 32 texts a request of /v1/embeddings, base64: rate / bare",
    aim=Aim(0.95, at_most=False),
)
MANY = Quantity(
    name="embed-many",
    what="embeddings, 32 clients with a text each: rate / one after the other",
    aim=Aim(1.8, at_most=False),
)
ONE = Quantity(name="embed-one", what="embedding of one text − bare: p50s", unit="ms", aim=Aim(1.5))


def batches(stage: Stage) -> list[Result]:
    return [_batches(stage, BATCHES, "ollama")]


def batches_openai(stage: Stage) -> list[Result]:
    return [_batches(stage, BATCHES_FLOAT, "float"), _batches(stage, BATCHES_BASE64, "base64")]


def _batches(stage: Stage, quantity: Quantity, dialect: EmbedDialect) -> Result:
    """One request after the other; the bare side gets the same texts in one call each."""
    bare, texts = stage.bare_embedding(), _texts()
    first = _next(texts, BATCH_TEXTS)
    _check_equal(_embed(stage, [EmbedCall(texts=first, dialect=dialect)])[0], bare.embed(first))
    rates: tuple[list[float], list[float]] = ([], [])
    for index in range(stage.sizes.rounds):
        stage.say(f"{quantity.what}: round {index + 1} of {stage.sizes.rounds}")
        pairs = [
            _pair(stage, bare, _next(texts, BATCH_TEXTS), dialect, ours_first=number % 2 == 0)
            for number in range(stage.sizes.embed_batches)
        ]
        for side, rate in enumerate(rates):
            rate.append(BATCH_TEXTS / statistics.median(pair[side] for pair in pairs))
    ours, theirs = rates
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    sides = f"{statistics.median(ours):.0f} / {statistics.median(theirs):.0f} texts/s"
    return of_rounds(quantity, ratios, sides)


def _pair(
    stage: Stage, bare: BareEmbedding, texts: tuple[str, ...], dialect: EmbedDialect, *, ours_first: bool
) -> tuple[float, float]:
    """Seconds of both sides for the same texts."""
    seconds = [0.0, 0.0]
    for side in (0, 1) if ours_first else (1, 0):
        time.sleep(PAUSE_S)
        call = EmbedCall(texts=texts, dialect=dialect)
        seconds[side] = (bare.embed(texts) if side else _embed(stage, [call])[0]).seconds
    return seconds[0], seconds[1]


def many(stage: Stage) -> list[Result]:
    """Requests that come together, each by a connection of its own, against as many that wait for the one before."""
    texts = _texts()
    together: list[float] = []
    alone: list[float] = []
    for index in range(stage.sizes.rounds + 1):
        stage.say(f"embed-many: round {index} of {stage.sizes.rounds}")
        calls = [[EmbedCall(texts=_next(texts, 1)) for _ in range(CLIENTS)] for _ in range(2)]
        one_by_one = sum(_embed(stage, [call])[0].seconds for call in calls[0])
        at_once = max(trace.end_s for trace in _embed(stage, calls[1]))
        if index:  # the first one connects the clients
            together.append(CLIENTS / at_once)
            alone.append(CLIENTS / one_by_one)
    ratios = [a / b for a, b in zip(together, alone, strict=True)]
    sides = f"{statistics.median(together):.0f} / {statistics.median(alone):.0f} texts/s"
    return [of_rounds(MANY, ratios, sides)]


def one(stage: Stage) -> list[Result]:
    bare, texts = stage.bare_embedding(), _texts()
    pairs: list[tuple[float, float]] = []
    for index in range(stage.sizes.pairs + 1):  # the first one loads the model
        if index % 50 == 0:
            stage.say(f"embed-one: pair {index} of {stage.sizes.pairs}")
        pairs.append(_pair(stage, bare, _next(texts, 1), "ollama", ours_first=index % 2 == 0))
    ours, theirs = ([pair[side] * 1000 for pair in pairs[1:]] for side in (0, 1))
    return [difference(ONE, 0.5, ours, theirs)]


def _embed(stage: Stage, calls: Sequence[EmbedCall]) -> list[EmbedTrace]:
    """On the product. Raises BenchError for a request that failed."""
    traces = stage.target.embed(calls)
    for trace in traces:
        if trace.error:
            raise BenchError(f"a request failed: {trace.error}")
    return traces


def _texts() -> Iterator[str]:
    """No two alike, in this run or an earlier one."""
    source = random.Random()
    for number in itertools.count(time.time_ns() % 10**6):
        yield " ".join([str(number % 10**6), *source.choices(WORDS, k=TEXT_WORDS)])


def _next(texts: Iterator[str], count: int) -> tuple[str, ...]:
    return tuple(itertools.islice(texts, count))


def _check_equal(ours: EmbedTrace, theirs: EmbedTrace) -> None:
    """Raises BenchError: what is not the same vector is not the same work."""
    for one, other in zip(ours.vectors, theirs.vectors, strict=True):
        products = [_product(one, other), _product(one, one), _product(other, other)]
        if any(abs(product - 1) > MOST_DIFFERENCE for product in products):
            both, *squares = (f"{product:.4f}" for product in products)
            raise BenchError(
                f"a vector differs from the bare pipeline's: product {both}, squares of the lengths "
                f"{' and '.join(squares)}; all should be 1"
            )


def _product(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(array("f", one), array("f", other), strict=True))
