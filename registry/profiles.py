"""Measured profiles as rows: read when the server starts, written every few seconds by a thread of their own.

No request waits for the database. While it is away the profiles stay in memory and in use; what was measured since the
last writing is lost when the process is killed, and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Final

import msgspec
from django.db import DatabaseError, transaction
from django.utils import timezone

from inference.profiles import Profile as Measurements
from inference.profiles import Profiles, Samples
from registry.database_thread import DatabaseThread
from registry.models import AnswerLengths, Profile

logger = logging.getLogger(__name__)

WRITE_S: Final = 5.0
_LONGEST_KEY: Final = 200

Lengths = dict[str, tuple[float, ...]]


class ProfileRows:
    """Event loop only."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles
        self._thread = DatabaseThread("profiles")
        self._failing = False

    async def restore(self) -> None:
        """What an earlier server measured. Without a database that answers, everything starts anew."""
        try:
            samples, lengths = await self._thread.read(_read)
        except DatabaseError as error:
            logger.error("what was measured of models before cannot be read: %s", error)
            return
        self._profiles.restore(samples, lengths.items())

    async def keep(self) -> None:
        """Write every few seconds, until cancelled; what is left is written by `close`."""
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write()

    async def write(self) -> None:
        """What changed; it is kept for the next time when that fails."""
        samples, lengths = self._profiles.take_changed()
        if not (samples or lengths):
            return
        try:
            await asyncio.shield(self._thread.run(lambda: _write(samples, lengths)))
            self._failing = False
        except DatabaseError as error:
            if not self._failing:
                logger.error("profiles cannot be written now, they stay in use: %s", error)
            self._failing = True
            self._profiles.not_kept(samples, lengths)

    async def close(self) -> None:
        """Write what is left and end the thread."""
        await self.write()
        await asyncio.to_thread(self._thread.close)


def _read() -> tuple[list[Samples], Lengths]:
    samples = []
    for row in Profile.objects.all():
        try:
            samples.append(msgspec.convert(row.samples, Samples))
        except msgspec.ValidationError:
            logger.warning("the profile of %s is of another version and starts anew", row)
    lengths = dict(AnswerLengths.objects.values_list("key", "tokens"))
    return samples, lengths


def _write(samples: tuple[Samples, ...], lengths: Lengths) -> None:
    now = timezone.now()
    with transaction.atomic():
        for one in samples:
            medians = msgspec.structs.asdict(Measurements(one).measured())
            del medians["used"]
            facts = {
                **medians,
                "model": one.name[:400],
                "samples": msgspec.to_builtins(one),
                "changed_at": now,
            }
            Profile.objects.update_or_create(key=_short(one.key), backend=one.backend[:100], defaults=facts)
        for key, tokens in lengths.items():
            facts = {"tokens": list(tokens), "changed_at": now}
            AnswerLengths.objects.update_or_create(key=_short(key), defaults=facts)


def _short(key: str) -> str:
    """A model with many adapters has a long key; the whole one is among the samples."""
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()
