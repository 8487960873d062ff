"""Anthropic's answers about models; the paths are OpenAI's, the header anthropic-version tells the clients apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from compat_api.timestamps import rfc3339
from registry.store import ModelInfo


def models(known: Iterable[ModelInfo]) -> dict[str, Any]:
    """All on one page; embedding models are no models to this API."""
    data = [model(entry, entry.spec.name) for entry in known if "completion" in entry.capabilities]
    ids = [entry["id"] for entry in data]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return {"data": data, "has_more": False, "first_id": first, "last_id": last}


def model(entry: ModelInfo, shown_id: str) -> dict[str, Any]:
    """`shown_id` is the name as it was asked for."""
    return {
        "type": "model",
        "id": shown_id,
        "display_name": entry.spec.name.removesuffix(":latest"),
        "created_at": rfc3339(entry.modified_at),
    }
