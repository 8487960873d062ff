"""What admin asks of the engine, where this process is the server: what is loaded, load this, unload that.

A page waits WAIT_S for all that it asked; what takes longer goes on, and the column `runs on` tells how it ended.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from inference.errors import InferenceError
from inference.states import LoadedModel, Snapshot
from inference.types import LoadRequest
from registry.models import Model

if TYPE_CHECKING:
    from inference.engine import Engine

WAIT_S: Final = 10.0

Outcome = tuple[str, bool | None]
"""A sentence, and whether it went well; None: it goes on. Admin capitalises what it is told, so none begins with a
model's name."""


class NoServer(Exception):
    """Models load in the server, and this process is none."""


_failures: dict[str, str] = {}
"""Model -> why the last load that admin asked for failed; gone with the next one that does not."""
_lock = threading.Lock()


def engine() -> Engine | None:
    """Commands load the admin too and are spared the import."""
    from inference import engine as engines

    try:
        return engines.current()
    except RuntimeError:
        return None


def snapshot() -> Snapshot | None:
    server = engine()
    return server.snapshot() if server is not None else None


def places(name: str, now: Snapshot) -> list[LoadedModel]:
    """Every worker that holds the model, be it under this name or another one's."""
    return [held for held in now.models if name in (held.name, *held.names)]


def failure(name: str) -> str:
    return _failures.get(name, "")


def load(rows: Iterable[Model]) -> list[Outcome]:
    """Raises NoServer, as `unload`."""
    return _ask(
        rows, lambda server, row: server.load(row.spec(), LoadRequest(model=row.name)), _loaded, "load"
    )


def unload(rows: Iterable[Model]) -> list[Outcome]:
    return _ask(rows, lambda server, row: server.unload(row.spec()), _unloaded, "unload")


def place(held: LoadedModel) -> str:
    where = held.executed or held.device
    return where if held.state == "ready" else f"{where} (loading)"


def _ask(
    rows: Iterable[Model],
    work: Callable[[Engine, Model], Coroutine[Any, Any, Any]],
    said: Callable[[str, Any], str],
    verb: str,
) -> list[Outcome]:
    server = engine()
    if server is None or server.loop is None:
        raise NoServer
    asked = [(row.name, asyncio.run_coroutine_threadsafe(work(server, row), server.loop)) for row in rows]
    deadline = time.monotonic() + WAIT_S
    return [_outcome(name, future, deadline, said, verb) for name, future in asked]


def _outcome(
    name: str, future: Future[Any], deadline: float, said: Callable[[str, Any], str], verb: str
) -> Outcome:
    _keep(name, future)
    try:
        return said(name, future.result(max(0.0, deadline - time.monotonic()))), True
    except TimeoutError:
        return f"Going on with the {verb} of {name}; the list tells how it ends", None
    except InferenceError as error:
        return f"Failed for {name}: {error}", False


def _keep(name: str, future: Future[Any]) -> None:
    """Once it has ended, also long after the page that asked."""

    def ended(done: Future[Any]) -> None:
        error = None if done.cancelled() else done.exception()
        with _lock:
            if error is None:
                _failures.pop(name, None)
            else:
                known = isinstance(error, InferenceError)
                _failures[name] = str(error) if known else "internal error; the server's log says more"

    future.add_done_callback(ended)


def _loaded(name: str, held: LoadedModel) -> str:
    return f"Loaded {name} on {place(held)}"


def _unloaded(name: str, was_loaded: bool) -> str:
    return f"Unloaded {name}" if was_loaded else f"Nothing to do: {name} was not loaded"
