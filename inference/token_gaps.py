"""How long each token of an answer was after the one before, in the buckets of a histogram."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (
    *(0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0),
)
"""Upper bounds; one more bucket has what is above the last."""


class TokenGaps:
    """As the worker's steps arrive, whatever the reader's pace: tokens of one step share its time."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, step_s: float, tokens: int) -> None:
        """A step of so many tokens, so long after the one before; a third of a microsecond."""
        self.counts[bisect_left(BOUNDS_S, step_s / tokens)] += tokens
        self.total_s += step_s

    def fold(self, other: TokenGaps) -> None:
        for index, count in enumerate(other.counts):
            self.counts[index] += count
        self.total_s += other.total_s
