"""The model that a request names: one of the registry, else one that other servers have."""

from __future__ import annotations

from inference import engine
from inference.types import ModelSpec
from registry import store


async def find(name: str) -> ModelSpec:
    """Local names win. A model of other servers costs no query. Raises as `store.find`."""
    there = engine.current().remotes.find(name) if store.peek(name) is None else None
    return there or await store.find(
        name
    )  # what memory has may be older than the last write: `find` sees to that
