"""Verifications as rows: small models are read while the caller waits, large ones by a thread that goes on alone.

1. The row is the truth. It is begun, moved on and ended by conditional updates, so two askers share one reading.
2. Who reads beats. A row that nobody has beaten for SILENT_S was left by a process that ended, and may be begun anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any, Final

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from registry import verification
from registry.models import Model, Verification

logger = logging.getLogger(__name__)

AT_ONCE_BYTES: Final = 256 * 1024**2
"""Read while somebody waits: less than a second from a warm disk, some seconds from a slow one."""

BEAT_S: Final = 0.5
SILENT_S: Final = 30.0

_States = Verification.States


class Removed(Exception):
    """The model went while its files were read, or was replaced."""


def begin(model: Model) -> Verification | None:
    """A row to read for; None while somebody else does."""
    now = timezone.now()
    fields: dict[str, Any] = {
        "digest": model.digest,
        "state": _States.RUNNING,
        "total_bytes": model.size_bytes,
        "read_bytes": 0,
        "faults": [],
        "began_at": now,
        "beat_at": now,
        "ended_at": None,
    }
    free = Q(state__in=Verification.ENDED) | Q(beat_at__lt=now - timedelta(seconds=SILENT_S))
    if not Verification.objects.filter(free, model=model).update(**fields):
        try:
            with transaction.atomic():
                Verification.objects.create(model=model, **fields)
        except IntegrityError:
            return None
    return Verification.objects.get(model=model)


def run(model: Model, row: Verification, waiting: Collection[int] = ()) -> Verification:
    """Reads every file of the model; the row as it ended. Blocking. Raises Removed.

    `waiting`: rows that come after this one, which are not silent either.
    """
    own = Verification.objects.filter(pk=row.pk, began_at=row.began_at, state=_States.RUNNING)
    beat = _Beat(own, waiting)
    faults = [
        f"{check.file} {check.fault}"
        for check in verification.check_files(model.spec(), beat.read)
        if not check.good
    ]
    now = timezone.now()
    state = _States.DAMAGED if faults else _States.GOOD
    if not own.update(state=state, faults=faults, read_bytes=beat.total, beat_at=now, ended_at=now):
        raise Removed
    if faults:
        logger.error("damaged files of %s: %s", model.name, "; ".join(faults))
    return Verification.objects.get(pk=row.pk)


class _Beat:
    """Tells the row how far the reading is, twice a second."""

    def __init__(self, own: QuerySet[Verification], waiting: Collection[int]) -> None:
        self._own = own
        self._waiting = Verification.objects.filter(pk__in=waiting, state=_States.RUNNING)
        self._next = time.monotonic() + BEAT_S
        self.total = 0

    def read(self, size: int) -> None:
        self.total += size
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + BEAT_S
        now = timezone.now()
        if not self._own.update(read_bytes=self.total, beat_at=now):
            raise Removed
        self._waiting.update(beat_at=now)


def run_in_background(begun: Iterable[tuple[Model, Verification]]) -> threading.Thread:
    """One after the other, in a thread that ends with the process: what it leaves behind may be begun anew."""
    thread = threading.Thread(target=_run_all, args=(list(begun),), name="verification", daemon=True)
    transaction.on_commit(thread.start)
    return thread


def _run_all(begun: list[tuple[Model, Verification]]) -> None:
    try:
        for index, (model, row) in enumerate(begun):
            try:
                run(model, row, [later.pk for _, later in begun[index + 1 :]])
            except Removed:
                logger.info("verification of %s: the model has changed meanwhile", model.name)
    except DatabaseError:
        logger.exception("verifications cannot be written now; they may be begun anew")
    finally:
        connections.close_all()
