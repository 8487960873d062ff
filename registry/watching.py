"""One look a second at the change stamps, for everything that the server keeps in memory.

What another process writes counts within two seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from django.db import DatabaseError

from registry.database_thread import DatabaseThread
from registry.models import change

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0

Stamps = Mapping[str, int]
"""By table; one that was never written has none."""
Follow = Callable[[Stamps], Awaitable[None]]
"""Brings what is in memory up to these stamps. Raises DatabaseError."""


_away = False


def database_is_away() -> bool:
    """The last look of this process's watch failed. From any thread."""
    return _away


class Watch:
    """Event loop only. The followers are told one after the other, so a later one finds what an earlier one read."""

    def __init__(self, *followers: Follow) -> None:
        self._followers = followers
        self._thread = DatabaseThread("watch")

    async def look(self) -> None:
        """Raises DatabaseError."""
        stamps = await self._thread.read(change.stamps)
        for follow in self._followers:
            await follow(stamps)

    async def run(self, interval_s: float = POLL_S) -> None:
        """Until cancelled. A failing database is logged once and tried again."""
        global _away
        try:
            while True:
                try:
                    await self.look()
                    _away = False
                except DatabaseError:
                    if not _away:
                        logger.exception("the database cannot be read; what is in memory stays in use")
                    _away = True
                await asyncio.sleep(interval_s)
        finally:
            self._thread.close(wait=False)
