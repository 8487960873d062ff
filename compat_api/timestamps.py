"""RFC 3339 in UTC with Z: a naive isoformat() breaks Go clients on every chunk."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

NANOSECONDS = 1_000_000_000


def rfc3339(moment: datetime) -> str:
    """`moment` must be aware."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def nanoseconds(seconds: float) -> int:
    """Durations go over the wire as integers; a float breaks Go clients."""
    return round(seconds * NANOSECONDS)


class Stamps:
    """The time now as ASCII bytes; the part up to the second is formatted once a second."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._second = -1
        self._head = b""

    def __call__(self) -> bytes:
        second, rest_ns = divmod(self._clock_ns(), NANOSECONDS)
        if second != self._second:
            self._second = second
            self._head = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%06dZ" % (self._head, rest_ns // 1000)


now = Stamps()
"""Shared by every encoder."""
