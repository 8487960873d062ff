"""`bench compare`: an artefact that was kept and a later one, held against each other within the guardrails.

digest   the vectors: the same, or on another processor or device no number further away than its kernels round
tokens   tokens a text: within one of what they were
rate     tokens a second: not more than a tenth lost; of two devices nothing is compared
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from inference.bench_sides import BenchError
from npuproxy.bench_artefact import STEP

LOST_RATE: Final = 0.10
TOKENS_A_TEXT: Final = 1.0
BATCHES: Final = "batches"
"""No guardrail: the sizes that only one of the two has."""

Positive = Annotated[float, Meta(gt=0)]


class Row(Struct, frozen=True, kw_only=True):
    """What was measured of one size of batch; of a tokenizer there is one."""

    avg_tokens_per_text: Positive
    tokens_per_sec: Positive


class Batch(Row, frozen=True, kw_only=True):
    batch: int


class OfEmbeddings(Struct, frozen=True, kw_only=True, tag="embeddings", tag_field="kind"):
    """The part of an artefact that is compared."""

    model: str
    machine: str
    device: str
    digest: str
    slices: list[list[float]]
    batches: list[Batch]


class OfTokenizer(Row, frozen=True, kw_only=True, tag="tokenizer", tag_field="kind"):
    model: str
    texts: int
    characters: int
    corpus_digest: str = ""
    """'' in those that were made before it was written."""


Artefact = OfEmbeddings | OfTokenizer


class Verdict(NamedTuple):
    guardrail: str
    holds: bool | None
    """None where the two say nothing about it; `words` tell why."""
    words: str


def read(path: Path) -> Artefact:
    """Raises BenchError."""
    try:
        found = msgspec.json.decode(path.read_bytes())
        return parsed(found)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise BenchError(
            f"{path} is no artefact of `bench embeddings` or `bench tokenizer`: {error}"
        ) from None


def parsed(found: Any) -> Artefact:
    """Raises msgspec.ValidationError."""
    made: Artefact = msgspec.convert(found, type=Artefact)
    return made


def compare(old: Artefact, new: Artefact) -> Iterator[Verdict]:
    """Raises BenchError for artefacts that cannot be compared."""
    if old.model != new.model:
        raise BenchError(f"model: {old.model!r} and {new.model!r} cannot be compared")
    if isinstance(old, OfEmbeddings) and isinstance(new, OfEmbeddings):
        return _embeddings(old, new)
    if isinstance(old, OfTokenizer) and isinstance(new, OfTokenizer):
        return _tokenizers(old, new)
    raise BenchError("kind: vectors and a tokenizer cannot be compared")


def _tokenizers(old: OfTokenizer, new: OfTokenizer) -> Iterator[Verdict]:
    corpora = [(one.corpus_digest, one.texts, one.characters) for one in (old, new)]
    known = all(digest for digest, *_ in corpora)
    if corpora[0][0 if known else 1 :] != corpora[1][0 if known else 1 :]:
        sizes = " and ".join(f"{texts} texts of {characters} characters" for _, texts, characters in corpora)
        raise BenchError(f"corpus: {sizes} cannot be compared, they are not the same")
    yield _tokens("", old, new)
    yield _rate("", old, new)


def _embeddings(old: OfEmbeddings, new: OfEmbeddings) -> Iterator[Verdict]:
    pairs = _paired(old, new)
    yield _same_vectors(old, new)
    for size, before, after in pairs:
        yield _tokens(f", {size} at once", before, after)
    if old.device != new.device:
        yield Verdict("rate", None, f"not compared: {old.device} and {new.device} are two devices")
    else:
        for size, before, after in pairs:
            yield _rate(f", {size} at once", before, after)
    both = {size for size, *_ in pairs}
    for batch in chain(old.batches, new.batches):
        if batch.batch not in both:
            where = "the old" if batch in old.batches else "the new"
            yield Verdict(BATCHES, None, f"not compared: {batch.batch} at once is in {where} one alone")


def _same_vectors(old: OfEmbeddings, new: OfEmbeddings) -> Verdict:
    if old.digest == new.digest:
        return Verdict("digest", True, old.digest[:12])
    if [len(one) for one in old.slices] != [len(one) for one in new.slices] or not old.slices:
        raise BenchError("digest: the vectors of the two are not of the same texts or lengths")
    worst = max(abs(a - b) for a, b in zip(chain(*old.slices), chain(*new.slices), strict=True))
    words = f"{old.digest[:12]} → {new.digest[:12]}, numbers up to {worst:.4f} apart"
    other = "device" if old.device != new.device else "processor" if old.machine != new.machine else ""
    if not other or worst > STEP:
        return Verdict("digest", False, words)
    return Verdict("digest", True, f"{words} on another {other}, whose kernels round otherwise")


def _tokens(label: str, old: Row, new: Row) -> Verdict:
    words = f"{old.avg_tokens_per_text:g} → {new.avg_tokens_per_text:g}{label}"
    return Verdict("tokens", abs(new.avg_tokens_per_text - old.avg_tokens_per_text) <= TOKENS_A_TEXT, words)


def _rate(label: str, old: Row, new: Row) -> Verdict:
    change = new.tokens_per_sec / old.tokens_per_sec - 1
    words = f"{old.tokens_per_sec:.0f} → {new.tokens_per_sec:.0f} tokens/s ({change:+.0%}){label}"
    return Verdict("rate", change >= -LOST_RATE, words)


def _paired(old: OfEmbeddings, new: OfEmbeddings) -> list[tuple[int, Row, Row]]:
    after = {row.batch: row for row in new.batches}
    pairs: list[tuple[int, Row, Row]] = [
        (row.batch, row, after[row.batch]) for row in old.batches if row.batch in after
    ]
    if not pairs:
        raise BenchError("no size of a batch is in both")
    return pairs
