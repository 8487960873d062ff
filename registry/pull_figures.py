"""What pulls have fetched, for the metrics of the server: they run in other processes, and the row is what all see.

A look every other second; a pull that began and ended between two looks is counted by the second one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from django.db import DatabaseError
from django.db.models import Max, Q

from inference import metrics
from registry.database_thread import DatabaseThread
from registry.models import Download

logger = logging.getLogger(__name__)

LOOK_S: Final = 2.0

Row = tuple[int, str, int]
"""Id, state, bytes that are there."""


class PullFigures:
    """What was there before the server's start does not count."""

    def __init__(self) -> None:
        self._followed: dict[int, int] = {}
        """Bytes of pulls that had not ended at the last look."""
        self._newest: int | None = None
        self._thread = DatabaseThread("pull-figures")

    async def keep(self) -> None:
        """Until cancelled. While the database is away nothing is lost: rows keep their bytes."""
        try:
            while True:
                try:
                    await self.look()
                except DatabaseError as error:
                    logger.debug("the bytes of pulls are not known now: %s", error)
                await asyncio.sleep(LOOK_S)
        finally:
            self._thread.close(wait=False)

    async def look(self) -> None:
        """Raises DatabaseError."""
        if self._newest is None:
            self._newest, active = await self._thread.read(_beginning)
            self._followed = {id: size for id, _, size in active}
            return
        newest, followed = self._newest, tuple(self._followed)
        for row in await self._thread.read(lambda: _rows(newest, followed)):
            self._count(*row)

    def _count(self, id: int, state: str, completed_bytes: int) -> None:
        before = self._followed.pop(id, 0)
        self._newest = max(self._newest or 0, id)
        metrics.PULL_BYTES.inc(max(0, completed_bytes - before))
        if state in Download.ACTIVE:
            self._followed[id] = max(before, completed_bytes)
        else:
            metrics.PULLS.labels(state).inc()


def _beginning() -> tuple[int, list[Row]]:
    newest = Download.objects.aggregate(newest=Max("id"))["newest"] or 0
    return newest, _values(Q(state__in=Download.ACTIVE))


def _rows(newest: int, followed: tuple[int, ...]) -> list[Row]:
    return _values(Q(id__gt=newest) | Q(id__in=followed))


def _values(wanted: Q) -> list[Row]:
    return list(Download.objects.filter(wanted).order_by("id").values_list("id", "state", "completed_bytes"))
