"""Rows of requests that have ended: collected on the event loop, written and removed by a thread, in batches.

No request waits for the database. While it is away, rows wait too; those for which there is no room are lost, which is
said once, and nothing else is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from inference.states import RequestRecord
from registry.database_thread import DatabaseThread
from registry.models import RequestLog

logger = logging.getLogger(__name__)

WRITE_S: Final = 2.0
MOST_WAITING: Final = 20_000
"""Records in memory, some ten megabytes."""
BATCH: Final = 400
PRUNE_EVERY_S: Final = 600.0
PRUNE_BATCH: Final = 500
PRUNE_PAUSE_S: Final = 0.05
"""Between two batches, so that other writers have their turn."""


class RequestRows:
    """`add` is for the event loop and returns at once; `keep` runs beside it."""

    def __init__(self) -> None:
        self._waiting: deque[RequestRecord] = deque()
        self._lost = 0
        self._failing = False
        self._pruned_at = -PRUNE_EVERY_S
        self._thread = DatabaseThread("request-rows")

    def add(self, record: RequestRecord) -> None:
        if settings.LOG_DAYS == 0:
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(record)
            return
        if not self._lost:
            logger.error("rows of requests are lost: the database has not taken any for long")
        self._lost += 1

    async def keep(self) -> None:
        """Write every other second and remove what is old, until cancelled; what is left is written by `close`."""
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write()
            if time.monotonic() - self._pruned_at >= PRUNE_EVERY_S:
                await self.prune()

    async def write(self) -> None:
        """What waits, a batch a transaction; a batch that fails waits on."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await asyncio.shield(self._thread.run(partial(_write, batch)))
            except DatabaseError as error:
                self._waiting.extendleft(reversed(batch))
                if not self._failing:
                    logger.error("requests cannot be written down now: %s", error)
                self._failing = True
                return
            if self._lost:
                logger.warning("%d rows of requests were lost", self._lost)
            self._failing, self._lost = False, 0

    async def prune(self) -> int:
        """Rows older than NPU_PROXY_LOG_DAYS go; how many did."""
        self._pruned_at = time.monotonic()
        before = timezone.now() - timedelta(days=settings.LOG_DAYS)
        removed = 0
        try:
            while gone := await self._thread.run(lambda: _prune(before)):
                removed += gone
                await asyncio.sleep(PRUNE_PAUSE_S)
        except DatabaseError as error:
            logger.debug("old requests cannot be removed now: %s", error)
        return removed

    async def close(self) -> None:
        """Write what is left and end the thread."""
        await self.write()
        await asyncio.to_thread(self._thread.close)


def _write(records: list[RequestRecord]) -> None:
    RequestLog.objects.bulk_create([row_of(record) for record in records])


def row_of(record: RequestRecord) -> RequestLog:
    """Cut to the table's lengths: what a client sent may be as long as it likes."""
    route = record.route
    decoded = record.completion_tokens > 1 and record.decode_s > 0
    row = RequestLog(
        request_id=record.id,
        time=datetime.fromtimestamp(record.time, UTC),
        endpoint=record.endpoint,
        dialect=record.dialect,
        model=record.model,
        key=record.key,
        priority=min(record.priority, 3),
        status=record.status,
        error=record.error,
        requested=route.requested if route else "",
        routed=route.routed if route else "",
        executed=route.executed if route else "",
        reason=route.reason if route else "",
        fallback_reason=route.fallback_reason if route else "",
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        ttft_s=record.ttft_s,
        decode_s=record.decode_s if decoded else None,
        queue_s=record.queue_s if route else None,
        load_s=record.load_s if route else None,
        total_s=record.total_s,
        energy_j=record.energy_j,
        energy_source="" if record.energy_source == "unknown" else record.energy_source,
        tokens_per_s=record.tokens_per_s,
    )
    for field in _TEXTS:
        setattr(row, field.attname, str(getattr(row, field.attname)).replace("\0", "�")[: field.max_length])
    return row


_TEXTS = [field for field in RequestLog._meta.concrete_fields if field.max_length]


def _prune(before: datetime) -> int:
    """One batch: the oldest first."""
    old = RequestLog.objects.filter(time__lt=before).order_by("id").values_list("pk", flat=True)[:PRUNE_BATCH]
    removed: int = RequestLog.objects.filter(pk__in=list(old)).delete()[0]
    return removed
