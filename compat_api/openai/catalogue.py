"""OpenAI's answers about models (api-contract 6.1), and what llama-server's say of their state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inference.states import Snapshot
from registry import names
from registry.store import ModelInfo


def models(known: Iterable[ModelInfo], snapshot: Snapshot) -> dict[str, Any]:
    return {"object": "list", "data": [model(entry, entry.spec.name, snapshot) for entry in known]}


def model(entry: ModelInfo, shown_id: str, snapshot: Snapshot) -> dict[str, Any]:
    """`shown_id` is the name as it was asked for."""
    return {
        "id": shown_id,
        "object": "model",
        "created": int(entry.modified_at.timestamp()),
        "owned_by": entry.backend or names.parse(entry.spec.name).namespace,
        "status": _status(entry, snapshot),
    }


def _status(entry: ModelInfo, snapshot: Snapshot) -> dict[str, Any]:
    """`failed`: it is not in memory because a device refused it."""
    value = snapshot.state_of(entry.spec)
    failed = value == "unloaded" and entry.spec.load_key in snapshot.refused
    return {"value": value, "failed": True} if failed else {"value": value}
