"""Copies and removes models: names first, files only when no name is left for them."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future
from typing import Final

from django.db import transaction

from inference import engine
from inference.errors import BadRequest, ModelNotFound, ShuttingDown, Unavailable
from registry import blobs, builtin, creation, install, names, store
from registry.models import Alias, Model

logger = logging.getLogger(__name__)

UNLOAD_S: Final = 60.0
"""What running answers of a model that is to go may still take."""
LOOK_S: Final = 0.5
"""Between two looks at whether the server still runs."""


def copy(source: str, destination: str) -> Model:
    """Another name for the same weights and texts; a model of that name is replaced. Blocking.

    Raises BadRequest for a name and ModelNotFound. Aliases of the source count; the copy is of what they stand for.
    """
    target = names.parse(destination)
    original = creation.row_of(source)
    if original.name.lower() == target.key:
        return original
    row = Model(**creation.inherited(original))
    row.parent = original.parent
    return creation.save(row, target)


def remove(name: str) -> None:
    """Unload it where this process is the server, then row and files. Blocking.

    An alias of that name goes, and its model stays. Raises ModelNotFound, BadRequest for what ships with the program,
    and Unavailable while the model still answers.
    """
    key = names.parse(name).key
    row = Model.by_name(names.parse(name)).first()
    if row is None:
        if not Alias.objects.filter(name__iexact=key).delete()[0]:
            raise ModelNotFound(name)
        return
    if row.builtin:
        raise BadRequest(f"model '{row.name}' ships with the program and cannot be removed", "model")
    _unload(row)
    adapters = {entry["sha256"] for entry in row.adapters}
    with transaction.atomic():
        install.remove(row)
        transaction.on_commit(lambda: blobs.drop_unused(adapters))
    builtin.sync_builtin_models()  # one may have waited behind this name
    logger.info("removed %s", row.name)


def _unload(row: Model) -> None:
    """Ends the worker, unless another name is served by it."""
    spec = row.spec()
    if any(other.spec.load_key == spec.load_key and other.name != row.name for other in store.all_models()):
        return
    try:
        server = engine.current()
    except RuntimeError:  # this process is no server; one that runs hears of it by the row
        return
    if server.loop is None:
        return
    running = asyncio.run_coroutine_threadsafe(server.unload(spec), server.loop)
    ends = time.monotonic() + UNLOAD_S
    while not _is_done(running):
        if not server.loop.is_running():
            raise ShuttingDown
        if (
            time.monotonic() > ends
        ):  # never cancelled: it goes on, and the model takes no new requests meanwhile
            raise Unavailable(
                f"model '{row.name}' still answers requests; try again when they have ended", 10.0
            )


def _is_done(running: Future[bool]) -> bool:
    try:
        running.result(LOOK_S)
    except TimeoutError:
        return running.done()
    return True
