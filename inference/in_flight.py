"""The requests that are under way, for whoever looks, and all tokens since the start.

A token costs nothing here: who looks reads the meters.
"""

from __future__ import annotations

from typing import Protocol

from inference.states import RunningRequest


class Entry(Protocol):
    """A request that has begun, as its dialect knows it."""

    def running(self) -> RunningRequest:
        """From any thread."""

    def tokens(self) -> int:
        """Completion tokens so far."""

    def stop(self) -> None:
        """End it, on the operator's wish. Event loop only."""


class InFlight:
    """`begin`, `end` and `cancel` are for the event loop; any thread may look."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._ended_tokens = 0

    def begin(self, entry: Entry) -> None:
        self._entries[id(entry)] = entry

    def end(self, entry: Entry) -> None:
        """A second time it does nothing."""
        if self._entries.pop(id(entry), None) is not None:
            self._ended_tokens += entry.tokens()

    def shown(self) -> tuple[RunningRequest, ...]:
        """The longest running first."""
        return tuple(entry.running() for entry in tuple(self._entries.values()))

    def tokens(self) -> int:
        """Completion tokens of every request since the start."""
        return self._ended_tokens + sum(entry.tokens() for entry in tuple(self._entries.values()))

    def cancel(self, request_id: str) -> int:
        """End every request of that id, for clients choose theirs; how many there were."""
        found = [entry for entry in self._entries.values() if entry.running().id == request_id]
        for entry in found:
            entry.stop()
        return len(found)


IN_FLIGHT = InFlight()
"""The server's."""
