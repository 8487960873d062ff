"""The API keys in memory: what makes the judgement of a request free of queries.

As `registry.store` has models: one frozen value, replaced as a whole; what another process wrote counts with the next
look at the change stamps (`registry.watching`), and a key that is not there yet is looked for at once (`refresh`).
Queries run in one thread of the ring's own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

from registry.database_thread import DatabaseThread
from registry.key import SPELLING, Key, hashed
from registry.models import ApiKey, change
from registry.watching import Stamps

_TABLE = ApiKey._meta.db_table


class KeyRing:
    """The keys, and the one thread that reads them."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._stamp: int | None = None
        self._thread = DatabaseThread("keys")
        self._queued: asyncio.Task[None] | None = None
        self._begun = False
        """Whether the latest look at the database has begun; until then whoever comes may wait for it."""

    def find(self, secret: bytes) -> Key | None:
        """From memory. A hash is looked up, so how long it takes says nothing about the secret."""
        return self._keys.get(hashed(secret)) if SPELLING.fullmatch(secret) else None

    def keep(self, rows: Iterable[tuple[str, Key]]) -> None:
        """These (sha256, key) and no others."""
        self._keys = dict(rows)

    async def refresh(self) -> None:
        """Read the rows if any changed; however many ask at once, one look is under way and one waits.

        Raises DatabaseError.
        """
        if self._queued is None or self._begun:
            self._begun = False
            self._queued = asyncio.create_task(self._thread.run(self._read))
        await asyncio.shield(self._queued)

    async def follow(self, stamps: Stamps) -> None:
        """Read the rows where their stamp says that they changed."""
        if stamps.get(_TABLE, 0) != self._stamp:
            await self.refresh()

    def close(self) -> None:
        """End the thread and its connection. Blocking; the ring is of no use afterwards."""
        self._thread.close()

    def _read(self) -> None:
        self._begun = True
        stamp = change.stamps().get(_TABLE, 0)
        if stamp != self._stamp:
            self.keep((row.sha256, of(row)) for row in ApiKey.objects.all())
            self._stamp = stamp


def of(row: ApiKey) -> Key:
    """The row as the server reads it."""
    expiry = row.expires_at.timestamp() if row.expires_at else math.inf
    return Key(
        id=row.pk,
        name=row.name,
        scope=row.scope,
        models=tuple(_with_tag(name) for name in _entries(row.models_allowed.lower())),
        devices=tuple(_entries(row.devices_allowed)),
        remote=row.remote_allowed,
        priority=row.priority,
        default_priority=row.default_priority,
        requests_per_minute=row.requests_per_minute or 0,
        tokens_per_minute=row.tokens_per_minute or 0,
        ends_at=0.0 if row.revoked_at else expiry,
    )


def _entries(text: str) -> list[str]:
    return [entry for part in text.split(",") if (entry := part.strip())]


def _with_tag(name: str) -> str:
    """`demo` is `demo:latest`, as everywhere; `qwen*` stands for every tag."""
    return name if "*" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


RING = KeyRing()
"""The server's."""
