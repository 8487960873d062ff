"""One picture of the server: what the page shows at first, and what its difference to the next one is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from msgspec import Struct

from inference import engine
from inference.states import RequestRecord, Snapshot
from npuproxy.page import rows
from npuproxy.page.history import History
from npuproxy.page.rows import Row
from registry import pull_state, store, use
from registry.models import Download
from registry.use import Life

SHOWN_REQUESTS = 100
SHOWN_MODELS = 200
"""Loaded ones first; admin has them all."""
ENDED_SHOWN_S = 120.0
"""A pull that has ended stays so long on the page."""
FAILED_SHOWN_S = 86400.0
"""One that failed has a button to go on with, until its name is pulled again."""
SHOWN_DOWNLOADS = 20
_LIVES_S = 5.0

Section = dict[str, Row]
"""By key, in the order of the page."""


class Picture(Struct, frozen=True):
    """`time`: Unix."""

    time: float
    sections: Mapping[str, Section]


class Painter:
    """Makes them, each from one snapshot and the rows; keeps what is costly. One thread at a time."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._ended: dict[tuple[str, float], Row] = {}
        self._lives: dict[str, Life] = {}
        self._lives_read = float("-inf")

    def picture(self) -> Picture:
        """Queries; not for the event loop."""
        current = engine.current()
        snapshot = current.snapshot()
        sections = {
            "server": {"server": rows.server(snapshot, current.efficiency, self._history.last)},
            "devices": {
                state.id: rows.device(
                    state, snapshot.readings.of(state.id), snapshot.models, snapshot.breakers
                )
                for state in snapshot.devices
            },
            "running": {f"{one.id} {one.time}": rows.running(one) for one in snapshot.running},
            "models": self._models(snapshot),
            "downloads": _downloads(),
            "requests": self._requests(snapshot.requests[:SHOWN_REQUESTS]),
        }
        return Picture(snapshot.time, sections)

    def _models(self, snapshot: Snapshot) -> Section:
        held = {one.load_key for one in snapshot.models}
        known = sorted(store.all_models(), key=lambda info: (info.spec.load_key not in held, info.name))
        shown = known[:SHOWN_MODELS]
        if time.monotonic() - self._lives_read > _LIVES_S:
            self._lives, self._lives_read = use.of(shown), time.monotonic()
        return {
            info.name: rows.model(
                info,
                [one for one in snapshot.models if one.load_key == info.spec.load_key],
                self._lives.get(info.name, Life()),
                [one for one in snapshot.breakers if one.load_key == info.spec.load_key],
            )
            for info in shown
        }

    def _requests(self, records: tuple[RequestRecord, ...]) -> Section:
        """Each is put into words once."""
        before, self._ended = self._ended, {}
        for record in records:
            key = (record.id, record.time)
            self._ended[key] = before.get(key) or rows.request(record)
        return {f"{request_id} {began}": row for (request_id, began), row in self._ended.items()}


def _downloads() -> Section:
    now = timezone.now()
    later = Download.objects.filter(name=OuterRef("name"), pk__gt=OuterRef("pk"))
    shown = Download.objects.filter(
        Q(state__in=Download.ACTIVE)
        | Q(finished_at__gte=now - timedelta(seconds=ENDED_SHOWN_S))
        | Q(finished_at__gte=now - timedelta(seconds=FAILED_SHOWN_S), state=Download.States.FAILED)
    ).exclude(Exists(later), state=Download.States.FAILED)
    return {str(row.pk): rows.download(pull_state.of(row)) for row in shown[:SHOWN_DOWNLOADS]}


def difference(old: Picture, new: Picture) -> dict[str, Any]:
    """By section: `order` where its keys changed, and of `rows` the fields that changed, whole for a new row."""
    found: dict[str, Any] = {}
    for name, section in new.sections.items():
        before = old.sections.get(name, {})
        changed = {key: _changes(before.get(key), row) for key, row in section.items()}
        part: dict[str, Any] = {key: row for key, row in changed.items() if row}
        entry: dict[str, Any] = {"rows": part} if part else {}
        if list(before) != list(section):
            entry["order"] = list(section)
        if entry:
            found[name] = entry
    return found


def _changes(before: Row | None, row: Row) -> Row:
    if before is row:
        return {}
    return (
        row if before is None else {name: value for name, value in row.items() if before.get(name) != value}
    )


def whole(picture: Picture) -> dict[str, Any]:
    """As a difference to nothing, empty sections included."""
    return {name: {"rows": section, "order": list(section)} for name, section in picture.sections.items()}
