"""The rest of an answer, from where it arrives to where it leaves, without a turn of the event loop between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from inference.events import Event

Take = Callable[[list["Event"]], bool]
"""Sends what these events say; False: no more before the client has read."""


class Relay(Protocol):
    """Of an answer whose generator is at rest behind its first token: each further token costs a generator's whole
    chain of waits, which for an answer that is only passed on is the most of what it costs."""

    async def into(self, take: Take, writable: Callable[[], Awaitable[None]]) -> None:
        """Gives events as they come, and returns when the last ones are there, Finish among them, or the answer
        broke: the generator gives those, or raises it. Raises what `take` raises."""
        ...
