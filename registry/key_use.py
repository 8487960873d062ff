"""What keys are used for: the limits of a minute, and the figures that are written down every few seconds.

All of it is counted in memory on the event loop, so no request waits for the database; a restart forgets the running
minute. A request that begins below its limit of tokens runs to its end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import DatabaseError, transaction
from django.db.models import F

from registry.database_thread import DatabaseThread
from registry.key import Key
from registry.models import ApiKey, ApiKeyUse

logger = logging.getLogger(__name__)

WRITE_S = 5.0
WINDOW_S = 60


class Window:
    """A sum over the last minute, in steps of a second: no minute has more, wherever it begins."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, amount: int, now: float) -> None:
        second = int(now)
        self._sum += amount
        if self._slots and self._slots[-1][0] == second:
            amount += self._slots.pop()[1]
        self._slots.append((second, amount))

    def wait_s(self, limit: int, now: float) -> int:
        """Whole seconds until the sum is below `limit`; 0 while it is."""
        while self._slots and self._slots[0][0] + WINDOW_S + 1 <= now:
            self._sum -= self._slots.popleft()[1]
        if self._sum < limit:
            return 0
        left = self._sum
        for second, amount in self._slots:
            left -= amount
            if left < limit:
                return max(1, second + WINDOW_S + 1 - int(now))
        raise AssertionError("an empty window is below every limit")


@dataclass
class Tally:
    """Since the last writing."""

    requests: int = 0
    tokens: int = 0
    used_at: float = 0.0


@dataclass
class _Minute:
    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)


class KeyUse:
    """`begin` and `spend` are for the event loop and return at once; `keep` runs beside it."""

    def __init__(self) -> None:
        self._minutes: dict[int, _Minute] = {}
        self._tallies: dict[int, Tally] = {}
        self._thread = DatabaseThread("key-use")
        self._failing = False

    def begin(self, key: Key, now: float | None = None) -> tuple[int, str]:
        """Count a request. (seconds to wait, the limit in words) when it is one too many: then it does not count."""
        now = time.time() if now is None else now
        if key.requests_per_minute or key.tokens_per_minute:
            minute = self._minutes.setdefault(key.id, _Minute())
            for window, limit, unit in (
                (minute.requests, key.requests_per_minute, "requests"),
                (minute.tokens, key.tokens_per_minute, "tokens"),
            ):
                if limit and (wait_s := window.wait_s(limit, now)):
                    return wait_s, f"{limit} {unit}"
            minute.requests.add(1, now)
        tally = self._tallies.setdefault(key.id, Tally())
        tally.requests += 1
        tally.used_at = now
        return 0, ""

    def spend(self, key: Key, tokens: int, now: float | None = None) -> None:
        """Tokens of a prompt and of what was answered to it, when the request has ended."""
        if not tokens:
            return
        now = time.time() if now is None else now
        if key.tokens_per_minute:
            self._minutes.setdefault(key.id, _Minute()).tokens.add(tokens, now)
        tally = self._tallies.setdefault(key.id, Tally())
        tally.tokens += tokens
        tally.used_at = now

    async def keep(self) -> None:
        """Write every few seconds, until cancelled; what is left is written by `close`."""
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write()

    async def write(self) -> None:
        """Everything that was counted; it is kept for the next time when that fails."""
        tallies, self._tallies = self._tallies, {}
        if not tallies:
            return
        try:
            await asyncio.shield(self._thread.run(lambda: _write(tallies)))
            self._failing = False
        except DatabaseError as error:
            if not self._failing:
                logger.error("use of keys cannot be written now, nothing is lost: %s", error)
            self._failing = True
            for key_id, tally in tallies.items():
                later = self._tallies.setdefault(key_id, Tally())
                later.requests += tally.requests
                later.tokens += tally.tokens
                later.used_at = max(later.used_at, tally.used_at)

    async def close(self) -> None:
        """Write what is left."""
        await self.write()
        self._thread.release()


def _write(tallies: dict[int, Tally]) -> None:
    with transaction.atomic():
        alive = set(ApiKey.objects.filter(pk__in=tallies).values_list("pk", flat=True))
        for key_id in alive:
            tally = tallies[key_id]
            ApiKeyUse.objects.get_or_create(key_id=key_id)
            ApiKeyUse.objects.filter(key_id=key_id).update(
                requests=F("requests") + tally.requests,
                tokens=F("tokens") + tally.tokens,
                used_at=datetime.fromtimestamp(tally.used_at, UTC),
            )


USE = KeyUse()
"""The server's."""
