"""OpenAI's answers about models (api-contract 6.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from registry import names
from registry.store import ModelInfo


def models(known: Iterable[ModelInfo]) -> dict[str, Any]:
    return {"object": "list", "data": [model(entry, entry.spec.name) for entry in known]}


def model(entry: ModelInfo, shown_id: str) -> dict[str, Any]:
    """`shown_id` is the name as it was asked for."""
    return {
        "id": shown_id,
        "object": "model",
        "created": int(entry.modified_at.timestamp()),
        "owned_by": names.parse(entry.spec.name).namespace,
    }
