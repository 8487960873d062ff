"""What the server writes down beside the requests: devices it found, loads, compile caches, use of each model.

Requests and loads are summed in memory and written every few seconds by a thread, so that no request waits for the
database. While the database is away they wait. What was summed since the last writing is lost when the process is
killed, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from inference.engine import Engine
from inference.errors import InferenceError
from inference.reports import LoadReport
from inference.states import DeviceState, RequestRecord
from registry import devices, store
from registry.database_thread import DatabaseThread
from registry.models import CompileCache, Device, Usage
from registry.request_rows import RequestRows
from registry.watching import Stamps

logger = logging.getLogger(__name__)

WRITE_S: Final = 5.0
MOST_WAITING: Final = 10_000
"""Pairs of model and device that wait for the next writing; more are dropped while the database is away."""


@dataclass
class Tally:
    """Requests of one model on one device since the last writing."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    load_s: float | None = None
    used_at: datetime = field(default_factory=timezone.now)

    def add(self, record: RequestRecord) -> None:
        self.requests += 1
        self.prompt_tokens += record.prompt_tokens
        self.completion_tokens += record.completion_tokens
        if record.ttft_s is not None:
            self.ttft_s = max(0.0, record.ttft_s - record.load_s - record.queue_s)
        if record.tokens_per_s is not None:
            self.tokens_per_s = record.tokens_per_s
        self.used_at = datetime.fromtimestamp(record.time, UTC)

    def fold(self, later: Tally) -> None:
        """Takes in what came after."""
        self.requests += later.requests
        self.prompt_tokens += later.prompt_tokens
        self.completion_tokens += later.completion_tokens
        for name in ("ttft_s", "tokens_per_s", "load_s"):
            setattr(self, name, getattr(later, name) or getattr(self, name))
        self.used_at = later.used_at


Key = tuple[str, str]
"""Model as it was asked for, and the device that executed it."""


class Records:
    """`loaded` and `used` are for the event loop and return at once; `keep` runs beside it."""

    def __init__(self) -> None:
        self._tallies: dict[Key, Tally] = {}
        self._caches: list[LoadReport] = []
        self._devices: tuple[DeviceState, ...] = ()
        self._followed: tuple[int, int] = (-1, -1)
        self._budgets: dict[str, int] = {}
        self._thread = DatabaseThread("records")
        self.requests = RequestRows()
        self._writing: asyncio.Task[None] | None = None
        self._failing = False

    # --- on the loop ----------------------------------------------------------------------------------------

    def loaded(self, report: LoadReport) -> None:
        if report.cache is not None:
            self._caches.append(report)
        if (tally := self._tally(report.model, report.executed)) is not None:
            tally.load_s = report.load_s
            tally.used_at = timezone.now()

    def used(self, record: RequestRecord) -> None:
        """Every request has a row; failed ones and those that ran nowhere are no use of a model."""
        self.requests.add(record)
        if record.status != 200 or record.route is None or not record.route.executed:
            return
        if (tally := self._tally(record.model, record.route.executed)) is not None:
            tally.add(record)

    def _tally(self, model: str, device: str) -> Tally | None:
        key = (model, device[:100])
        if key not in self._tallies and len(self._tallies) >= MOST_WAITING:
            return None
        return self._tallies.setdefault(key, Tally())

    async def keep(self) -> None:
        """Write every few seconds, until cancelled; what is left is written by `close`."""
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write()

    async def write(self) -> None:
        """Everything that was summed, in one transaction; it is kept for the next time when that fails.

        Goes on when its caller is cancelled.
        """
        self._writing = asyncio.create_task(self._tried())
        await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Write what is left and end the thread."""
        if self._writing is not None:
            await self._writing
        await self.write()
        await self.requests.close()
        await asyncio.to_thread(self._thread.close)

    async def follow(self, engine: Engine, stamps: Stamps) -> None:
        """Pins and budgets, from whichever process they were set; the devices, once they are known.

        The store has followed the stamps before.
        """
        states = tuple(state for state in engine.snapshot().devices if state.local)
        if _facts(states) != _facts(self._devices):
            await self._thread.run(lambda: devices.found(states))
            self._devices = states
        stamp = stamps.get(Device._meta.db_table, 0)
        seen = (store.stamp(), stamp)
        if seen != self._followed:
            if stamp != self._followed[1]:
                self._budgets = await self._thread.read(devices.budgets)
            engine.follow({info.spec.name: info.spec for info in store.all_models()}, self._budgets)
            self._followed = seen

    async def _tried(self) -> None:
        """What fails is tried again in its next turn, and logged once until it works again."""
        try:
            await self._write()
            self._failing = False
        except DatabaseError as error:
            if not self._failing:
                logger.error("use of models cannot be written now, nothing is lost: %s", error)
            self._failing = True

    async def _write(self) -> None:
        tallies, self._tallies = self._tallies, {}
        caches, self._caches = self._caches, []
        if not (tallies or caches):
            return
        try:
            await self._thread.run(lambda: _write(tallies, caches))
        except DatabaseError:
            self._caches = caches + self._caches
            for key, later in self._tallies.items():
                tallies.setdefault(key, Tally()).fold(later)
            self._tallies = tallies
            raise


def _facts(states: tuple[DeviceState, ...]) -> set[tuple[object, ...]]:
    """What a row holds of each."""
    return {
        (state.id, state.full_name, state.driver, state.memory_bytes, state.available) for state in states
    }


def _write(tallies: dict[Key, Tally], caches: list[LoadReport]) -> None:
    with transaction.atomic():
        for (model, device), tally in tallies.items():
            with contextlib.suppress(InferenceError):  # the model has gone since
                _write_usage(store.info(model).digest, device, tally)
        for report in caches:
            _write_cache(report)


def _write_usage(digest: str, device: str, tally: Tally) -> None:
    rows = Usage.objects.filter(digest=digest, device=device)
    if not rows.exists():
        Usage.objects.create(digest=digest, device=device)
    latest = {
        name: value
        for name in ("ttft_s", "tokens_per_s", "load_s")
        if (value := getattr(tally, name)) is not None
    }
    rows.update(
        requests=F("requests") + tally.requests,
        prompt_tokens=F("prompt_tokens") + tally.prompt_tokens,
        completion_tokens=F("completion_tokens") + tally.completion_tokens,
        used_at=tally.used_at,
        **latest,
    )


def _write_cache(report: LoadReport) -> None:
    use = report.cache
    assert use is not None
    key: dict[str, Any] = {
        "digest": use.key.digest,
        "device": use.key.device[:40],
        "driver": use.key.driver[:100],
        "openvino": use.key.openvino[:100],
    }
    now = timezone.now()
    facts: dict[str, object] = {"path": str(use.path), "size_bytes": use.size_bytes, "used_at": now}
    if use.compiled:
        facts |= {"compile_s": report.load_s, "created_at": now}
    CompileCache.objects.update_or_create(defaults=facts, **key)
