"""Counters that only grow, as the kernel gives them: rates, and joules without end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

MOST_WATTS = 5000.0
"""More than any package or card draws: a counter that says so has begun anew."""

T = TypeVar("T")


class Kept:
    """What must outlive a search for devices: counters and open libraries, by name."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def of(self, key: str, make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept


class Rate:
    """Growth of a counter by the second."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def per_s(self, count: float | None, now: float) -> float | None:
        """None at the first count, without one, and where the counter fell (its device was reset)."""
        last, self._last = self._last, None if count is None else (count, now)
        if last is None or count is None or count < last[0] or now <= last[1]:
            return None
        return (count - last[0]) / (now - last[1])


def percent(share: float | None) -> float | None:
    """A share of time as percent within 0 and 100: two clocks never quite agree."""
    return None if share is None else min(100.0, max(0.0, 100.0 * share))


class EnergyCounter:
    """Joules since the first count, from one of microjoules that begins anew at its range. From any thread.

    `max_energy_range_uj` is "range of the above energy counter" (Documentation/power/powercap/powercap.rst). A fall
    that would mean more than MOST_WATTS is no wrap-around but a counter that was reset: it adds nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[int, float] | None = None
        self._joules = 0.0
        self._watts = Rate()

    def add(self, count_uj: int | None, range_uj: int, now: float) -> float | None:
        """Joules so far; None without a count. `range_uj` 0: the counter has no end that anyone sees."""
        if count_uj is None:
            return None
        with self._lock:
            last, self._last = self._last, (count_uj, now)
            if last is not None:
                grown = count_uj - last[0]
                if grown < 0 and range_uj > 0:
                    grown += range_uj
                if 0 <= grown <= MOST_WATTS * 1e6 * max(0.001, now - last[1]):
                    self._joules += grown / 1e6
                else:
                    self._watts = Rate()
            return self._joules

    def sample(self, count_uj: int | None, range_uj: int, now: float) -> tuple[float | None, float | None]:
        """Joules so far, and watts since the last `sample`, whatever `add` was called in between."""
        joules = self.add(count_uj, range_uj, now)
        return joules, self._watts.per_s(joules, now)
