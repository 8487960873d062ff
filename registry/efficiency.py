"""The efficiency mode as a row: chosen by whoever may, followed by the server."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from inference.engine import Engine
from registry.database_thread import DatabaseThread
from registry.models.efficiency import ONLY, EfficiencyChoice
from registry.watching import Stamps

_TABLE = EfficiencyChoice._meta.db_table


def stored() -> str:
    """One of `inference.modes.NAMES`: the row's, or NPU_PROXY_MODE where nobody has chosen yet."""
    row = EfficiencyChoice.objects.filter(pk=ONLY).first()
    return row.mode if row else str(settings.MODE)


def choose(mode: str) -> None:
    """`mode`: one of NAMES. A running server follows within two seconds."""
    EfficiencyChoice.objects.update_or_create(
        pk=ONLY, defaults={"mode": mode, "changed_at": timezone.now()}, create_defaults={"mode": mode}
    )


class Follower:
    """Tells the engine what the row says."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stamp = -1
        self._thread = DatabaseThread("efficiency")

    async def follow(self, stamps: Stamps) -> None:
        stamp = stamps.get(_TABLE, 0)
        if stamp != self._stamp:
            chosen = await self._thread.read(stored)
            self._thread.release()
            if chosen != self._engine.efficiency.stored:
                self._engine.efficiency.choose(chosen)
            self._stamp = stamp
