"""The rows of models in memory: what makes a request's look-up free of queries.

Who owns what:
1. The rows in memory are one frozen value, replaced as a whole; readers on any thread take it without a lock.
2. A hit makes no query. A miss always makes one, so a model that another process installed is found at once.
3. Writes of this process count at once (signal `committed`), those of other processes with the next look at the
   change stamps (`registry.watching`).
4. Queries on behalf of the event loop run in one thread of the store's own; the loop's thread never holds a
   database connection. Code on other threads (DRF views, commands, admin) queries on its own connection, as
   Django does.
"""

from __future__ import annotations

import asyncio
import threading
from functools import lru_cache, reduce
from operator import xor
from typing import Any

from msgspec import Struct

from inference.errors import BadRequest, ModelNotFound
from inference.types import ModelSpec
from registry import model_info, names
from registry.database_thread import DatabaseThread
from registry.model_info import ModelInfo
from registry.models import Alias, Model, change
from registry.watching import Stamps

__all__ = ["ModelInfo", "all_models", "find", "find_sync", "follow", "info", "peek", "refresh", "stamp"]

_LONGEST_KEPT = 200
"""Characters of a name whose parts are remembered: a client may send longer ones."""
AT_ONCE = 500
"""Rows of one query."""

_TABLES = (Model, Alias)


class Rows(Struct, frozen=True):
    """All rows at one moment."""

    by_key: dict[str, ModelInfo]
    """Under its own name and under its aliases."""
    newest_first: tuple[ModelInfo, ...]
    versions: dict[int, tuple[int, str, ModelInfo]]
    """Primary key -> version of the row, its key as a name, and the value made of it."""
    stamp: int
    """Of the tables of models and aliases, read just before the rows, so that it is never newer than they are."""


class Store:
    """The rows, and the one thread that reads them for the event loop."""

    def __init__(self) -> None:
        self._rows: Rows | None = None
        self._write: object | None = None
        """The latest write of this process."""
        self._write_read: object | None = None
        """The latest write that `_rows` has for certain; set behind them, so that nobody takes older rows for them."""
        self._reading = threading.Lock()
        self._thread = DatabaseThread("registry")
        for table in _TABLES:
            change.committed.connect(self._written, sender=table)

    async def find(self, name: str) -> ModelSpec:
        """The model of that name. Raises ModelNotFound, BadRequest (the grammar) and CloudRefused."""
        key = _key(name)
        if self._rows is None or self._write_read is not self._write:
            await self.refresh()
        hit = self._hit(key)
        if hit is None:
            await self.refresh()
            hit = self._hit(key)
        if hit is None:
            raise ModelNotFound(name)
        return hit.spec

    def peek(self, name: str) -> ModelSpec | None:
        """The model of that name as far as memory knows: no query, and no word against names of any kind."""
        try:
            hit = self._hit(_key(name))
        except (ModelNotFound, BadRequest):
            return None
        return hit.spec if hit else None

    def find_sync(self, name: str) -> ModelSpec:
        """As `find`, for threads other than the event loop's."""
        return self.info(name).spec

    def info(self, name: str) -> ModelInfo:
        """Everything known of the model; for threads other than the event loop's. Raises as `find`."""
        key = _key(name)
        hit = self._hit(key, self._current())
        if hit is None:
            hit = self._hit(key, self._read())
        if hit is None:
            raise ModelNotFound(name)
        return hit

    def all_models(self) -> list[ModelInfo]:
        """Every model, the newest first. On the event loop's thread what is in memory, else current."""
        return list((self._rows if _on_a_loop() and self._rows else self._current()).newest_first)

    def stamp(self) -> int:
        """Of the rows in memory: another one, other rows."""
        return self._rows.stamp if self._rows else 0

    async def refresh(self) -> None:
        """Read the rows if any changed since: one query if none did, else three."""
        await self._thread.read(self._read)

    async def follow(self, stamps: Stamps) -> None:
        """Read the rows where these stamps, or a write of this process, say that they changed."""
        if self._rows is None or self._rows.stamp != _stamp(stamps) or self._write_read is not self._write:
            await self.refresh()

    def close(self) -> None:
        """End the thread and its connection. Blocking; the store is of no use afterwards."""
        self._thread.close()

    def _hit(self, key: str, rows: Rows | None = None) -> ModelInfo | None:
        rows = rows or self._rows
        return rows.by_key.get(key) if rows else None

    def _current(self) -> Rows:
        stale = self._write_read is not self._write  # asked before the rows are taken: they may only be newer
        rows = self._rows
        return self._read() if rows is None or stale else rows

    def _read(self) -> Rows:
        """What the database holds now; the rows in memory where their stamp is still the table's."""
        with self._reading:
            write, stamp = self._write, _stamp(change.stamps())
            if self._rows is None or self._rows.stamp != stamp:
                self._rows = _rows(stamp, self._rows.versions if self._rows else {})
            self._write_read = write
            return self._rows

    def _written(self, **_: Any) -> None:
        self._write = object()


def _stamp(stamps: Stamps) -> int:
    """Another one after any write: stamps are drawn at random."""
    return reduce(xor, (stamps.get(table._meta.db_table, 0) for table in _TABLES))


def _rows(stamp: int, known: dict[int, tuple[int, str, ModelInfo]]) -> Rows:
    """All rows; only those that were written since are read and made into values anew."""
    order = list(Model.objects.order_by("-modified_at", "name").values_list("pk", "version"))
    changed = [pk for pk, version in order if known.get(pk, (-1,))[0] != version]
    fresh: dict[int, tuple[int, str, ModelInfo]] = {}
    for start in range(0, len(changed), AT_ONCE):
        for row in Model.objects.filter(pk__in=changed[start : start + AT_ONCE]):
            fresh[row.pk] = (row.version, names.parse(row.name).key, model_info.of(row))
    all_known = {**known, **fresh}
    entries = {pk: all_known[pk] for pk, _ in order if pk in all_known}
    infos = tuple(info for _, _, info in entries.values())
    return Rows(_with_aliases({key: info for _, key, info in entries.values()}), infos, entries, stamp)


def _with_aliases(models: dict[str, ModelInfo]) -> dict[str, ModelInfo]:
    """A model wins over an alias of its name; an alias of an alias leads nowhere."""
    aliases = Alias.objects.values_list("name", "target")
    found = {name.lower(): models[target.lower()] for name, target in aliases if target.lower() in models}
    return found | models


def _key(name: str) -> str:
    if not name.strip():
        raise ModelNotFound(name)
    return _parsed(name) if len(name) <= _LONGEST_KEPT else names.parse(name).key


@lru_cache(maxsize=1024)
def _parsed(name: str) -> str:
    """Each request asks for its model twice, and by few names."""
    return names.parse(name).key


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_store = Store()
find = _store.find
find_sync = _store.find_sync
info = _store.info
peek = _store.peek
all_models = _store.all_models
refresh = _store.refresh
stamp = _store.stamp
follow = _store.follow
