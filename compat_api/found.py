"""The models there are: those of the registry, and those that other servers have alone. Local names win."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from inference import engine
from inference.errors import BadRequest, ModelNotFound
from inference.remotes import spec_of
from inference.types import ModelSpec
from registry import model_info, store
from registry.key import Key
from registry.store import ModelInfo


async def find(name: str) -> ModelSpec:
    """What a request names. A model of other servers costs no query. Raises as `store.find`."""
    there = engine.current().remotes.find(name) if store.peek(name) is None else None
    return there or await store.find(
        name
    )  # what memory has may be older than the last write: `find` sees to that


def info(name: str) -> ModelInfo:
    """For threads other than the event loop's. Raises as `store.info`."""
    try:
        return store.info(name)
    except (ModelNotFound, BadRequest):
        there = engine.current().remotes.find(name)
        shown = next((one for one in _elsewhere() if there and one.name == there.name), None)
        if shown is None:
            raise
        return shown


def elsewhere(key: Key | None, via: str | None) -> list[ModelInfo]:
    """For lists: models that only other servers have, as far as the key may use them.

    None for a server that asks (`via`, its header): two that list each other would keep a model alive that neither has.
    """
    if via or (key is not None and not key.remote):
        return []
    return [one for one in _elsewhere() if key is None or key.allows_model(one.name)]


def _elsewhere() -> Iterator[ModelInfo]:
    """Each name once, by the first server that has it."""
    named: set[str] = set()
    for backend, offer in engine.current().remotes.offers():
        name = offer.name.lower()
        if name not in named and store.peek(offer.name) is None:
            named.add(name)
            since = datetime.fromtimestamp(backend.since, UTC)
            yield model_info.elsewhere(spec_of([offer]), backend.id, offer.listed.id, since)
