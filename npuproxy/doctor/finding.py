"""What an examination finds, and how it is done: one area after the other, none of which can stop the next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from django.db import DatabaseError
from msgspec import Struct

logger = logging.getLogger(__name__)

Level = Literal["ok", "warning", "fault"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    area: str = ""
    level: Level
    words: str
    remedy: str = ""
    """One line that mends it, a command where there is one; '' where nothing is to be done, or can be."""
    mend: Callable[[], str] | None = None
    """Mends it without harm and returns what was done. Raises OSError or DatabaseError."""


def ok(words: str) -> Finding:
    return Finding(level="ok", words=words)


def warning(words: str, remedy: str = "", mend: Callable[[], str] | None = None) -> Finding:
    """Something works less well than it could, or may soon."""
    return Finding(level="warning", words=words, remedy=remedy, mend=mend)


def fault(words: str, remedy: str = "", mend: Callable[[], str] | None = None) -> Finding:
    """Something that was asked for does not work."""
    return Finding(level="fault", words=words, remedy=remedy, mend=mend)


Look = Callable[[], Iterable[Finding]]


def examine(areas: Iterable[tuple[str, Look]]) -> Iterator[Finding]:
    """As they are found. An area that cannot be looked at is a finding too."""
    for area, look in areas:
        try:
            for found in look():
                yield Finding(
                    area=area, level=found.level, words=found.words, remedy=found.remedy, mend=found.mend
                )
        except Exception as error:  # whatever is broken on this machine, the other areas are still looked at
            logger.debug("%s", area, exc_info=error)
            words = f"could not be looked at: {line(error)}"
            yield Finding(area=area, level="warning", words=words, remedy=_remedy(error))


def line(error: Exception) -> str:
    """Its first line: some libraries tell stories."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _remedy(error: Exception) -> str:
    if isinstance(error, DatabaseError):
        return "mend the database first, then: manage.py doctor"
    return "NPU_PROXY_LOG_LEVEL=DEBUG manage.py doctor   # says where it failed"
