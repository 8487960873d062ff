"""Stops a loop of crashes: closed, open for a while after three crashes in a minute, then one try decides."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

CRASHES = 3
WINDOW_S = 60.0
OPEN_S = 10.0
LONGEST_OPEN_S = 120.0


class Breaker:
    """Of one model on one device. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._open_until = 0.0
        self._open_s = OPEN_S

    @property
    def half_open(self) -> bool:
        """It was open, and the next request decides."""
        return 0.0 < self._open_until <= self._clock()

    def crashed(self) -> None:
        """A worker ended by itself or had to be killed. A crash right after an opening opens it for twice as long."""
        now = self._clock()
        half_open = self.half_open
        self._crashes.append(now)
        if half_open:
            self._open_s = min(2 * self._open_s, LONGEST_OPEN_S)
            self._open_until = now + self._open_s
        elif len(self._crashes) == CRASHES and now - self._crashes[0] <= WINDOW_S:
            self._open_until = now + self._open_s

    def answered(self) -> None:
        """A request ended well: closed, and the count starts again."""
        self._crashes.clear()
        self._open_until = 0.0
        self._open_s = OPEN_S

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        """As of now. From any thread."""
        if not self._open_until:
            return "closed"
        return "open" if self._clock() < self._open_until else "half_open"

    def retry_after_s(self) -> float:
        """Seconds until the next try is let through; 0 when it is now."""
        return max(0.0, self._open_until - self._clock())
