"""Several answers at the same time: their events as they come, each with the number of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from inference.events import Event

Batches = AsyncGenerator[list[Event], None]
_WAITING = 4
"""Batches of each answer that wait for the reader; then the answer waits too."""


async def merged(answers: Sequence[Batches]) -> AsyncGenerator[tuple[int, list[Event]], None]:
    """Until all have ended. When one fails the others are ended, and its error is raised."""
    queue: asyncio.Queue[tuple[int, list[Event]] | None] = asyncio.Queue(_WAITING * len(answers))

    async def read(index: int, batches: Batches) -> None:
        async with aclosing(batches):
            async for batch in batches:
                await queue.put((index, batch))

    async def read_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for index, batches in enumerate(answers):
                    group.create_task(read(index, batches))
        except asyncio.CancelledError:
            raise  # nobody takes from the queue any more
        except BaseException:
            await queue.put(None)
            raise
        await queue.put(None)

    reading = asyncio.create_task(read_all())
    try:
        while (entry := await queue.get()) is not None:
            yield entry
        try:
            await reading
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
