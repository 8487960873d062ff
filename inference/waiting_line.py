"""The order in which those who wait for a device start (routing-spec 4).

level    best effort 0, normal 1, high 2, critical 3: the highest starts next, of one level who came first
ageing   each 5 s of waiting lift by a level, as far as high; what was asked as critical alone is critical
old      whoever has waited a minute takes every fourth start, the oldest first, whatever else waits
"""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

HIGH: Final = 2
LEVEL_S: Final = 5.0
OLD_S: Final = 60.0
OLD_EVERY: Final = 4
"""Of so many starts one is an old one's, where there is one."""


class Waiting(Protocol):
    """A request in the line; `since` by the clock of `Line.take`."""

    priority: int
    since: float


W = TypeVar("W", bound=Waiting)


def level(waiting: Waiting, now: float) -> int:
    """What its priority has become by waiting."""
    risen = waiting.priority + int((now - waiting.since) / LEVEL_S)
    return max(waiting.priority, min(risen, HIGH))


class Line(Generic[W]):
    """In order of arrival. A start looks at all that wait, of whom there are some hundreds at most."""

    def __init__(self) -> None:
        self._waiting: list[W] = []
        self._starts = 0
        """Since an old one's turn."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: W) -> None:
        self._waiting.append(waiting)

    def remove(self, waiting: W) -> bool:
        """False when it was not in line any more."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            return True
        return False

    def take(self, now: float) -> W:
        """Whose turn it is, taken out. Raises IndexError when nobody waits."""
        oldest = self._waiting[0]
        self._starts += 1
        if self._starts >= OLD_EVERY and now - oldest.since >= OLD_S:
            self._starts = 0
            return self._waiting.pop(0)
        levels = [level(waiting, now) for waiting in self._waiting]
        return self._waiting.pop(levels.index(max(levels)))
