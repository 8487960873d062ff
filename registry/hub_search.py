"""A search of the hub for people who wait for it: bounded in time and in number, and sorted by what would run here.

The hub knows a repository's task only where its author named one, and many conversions lack it: so the kind is told
from tags, else from the name.
"""

from __future__ import annotations

import re
import threading
from typing import Final, Literal

from msgspec import Struct

from inference.errors import Unavailable
from registry import aside, hub
from registry.hub import Found, Sort
from registry.hub_errors import HubUnavailable

DEADLINE_S: Final = 15.0
MOST_AT_ONCE: Final = 4
"""Searches under way; a hub that hangs holds no more threads than these."""
MOST_RESULTS: Final = 100
LONGEST_QUERY: Final = 200
"""Characters."""

Kind = Literal["chat", "vision", "embedding", "other"]
Wanted = Literal["", "chat", "vision", "embedding"]

_FETCHED_PER_WANTED: Final = 4
"""With a kind, this many times the results are fetched, since the others are dropped here."""
_MOST_FETCHED: Final = 200
_OTHER_TASKS: Final = frozenset(
    """automatic-speech-recognition audio-classification audio-to-audio text-to-speech text-to-audio
    image-to-text visual-question-answering text-to-image image-to-image text-to-video
    image-classification image-segmentation image-feature-extraction object-detection depth-estimation mask-generation
    zero-shot-image-classification text-classification token-classification text-ranking fill-mask question-answering
    translation summarization robotics reinforcement-learning""".split()  # noqa: SIM905
)
_EMBEDS: Final = re.compile(r"embed|(^|[-_.])(bge|e5|gte|minilm|mpnet|labse|sbert)(?![a-z])", re.IGNORECASE)
_SEES: Final = re.compile(r"llava|internvl|minicpm-v|(^|[-_.\d])vl([-_.\d]|$)|[-_.]vision", re.IGNORECASE)
_OTHERS: Final = re.compile(
    r"rerank|whisper|clip|stable-diffusion|sdxl|flux|yolo|resnet|bert|vision|[-_.]vl([-_.]|$)|ocr|tts|asr|draft|vae",
    re.IGNORECASE,
)
_PARAMETERS: Final = re.compile(r"(?<![a-z\d.])(\d+(?:\.\d+)?[bm])(?![a-z])", re.IGNORECASE)
_QUANTIZATION: Final = re.compile(
    r"(?<![a-z\d])(int[48]|nf4|mxfp4|fp8|fp16|fp32|bf16|i?q\d_\w+)", re.IGNORECASE
)

_places = threading.BoundedSemaphore(MOST_AT_ONCE)


class Hit(Struct, frozen=True):
    """One repository that was found, with what its name tells."""

    found: Found
    kind: Kind
    parameters: str
    """`8B`; '' where the name does not say."""
    quantization: str
    """`INT4`; '' where the name does not say."""


def search(
    query: str,
    *,
    limit: int = 20,
    sort: Sort = "downloads",
    kind: Wanted = "",
    deadline_s: float = DEADLINE_S,
) -> list[Hit]:
    """Repositories with OpenVINO files. Blocking, for `deadline_s` at most.

    Raises HubError (HubUnavailable at the deadline) and Unavailable (too many searches at once).
    """
    fetched = min(limit * _FETCHED_PER_WANTED, _MOST_FETCHED) if kind else limit
    hits = map(_hit, _within(deadline_s, query, fetched, sort))
    return [hit for hit in hits if not kind or hit.kind == kind][:limit]


def kind_of(found: Found) -> Kind:
    """What the repository seems to be for."""
    if found.kind == "chat":
        return "chat"
    if found.kind == "embedding":
        return "embedding"
    if "image-text-to-text" in found.tags:
        return "vision"
    name = found.repo.rpartition("/")[2]
    if _OTHER_TASKS.intersection(found.tags) or re.search("rerank", name, re.IGNORECASE):
        return "other"
    if _EMBEDS.search(name):
        return "embedding"
    if _SEES.search(name):
        return "vision"
    return "other" if _OTHERS.search(name) else "chat"


def _hit(found: Found) -> Hit:
    name = found.repo.rpartition("/")[2]
    parameters, quantization = _PARAMETERS.search(name), _QUANTIZATION.search(name)
    return Hit(
        found,
        kind_of(found),
        parameters[1].upper() if parameters else "",
        quantization[1].upper() if quantization else "",
    )


def _within(deadline_s: float, query: str, limit: int, sort: Sort) -> tuple[Found, ...]:
    """Whatever becomes of the search: its place is free when it has ended."""
    if not _places.acquire(blocking=False):
        raise Unavailable(f"{MOST_AT_ONCE} searches of the hub are under way; try again", 2.0)

    def ask() -> tuple[Found, ...]:
        try:
            return hub.search(query, limit=limit, sort=sort)
        finally:
            _places.release()

    try:
        return aside.begin(ask, "hub search").result(deadline_s)
    except TimeoutError:
        raise HubUnavailable(f"the hub did not answer the search within {deadline_s:g} s") from None
