"""What a request may name but cannot have here: a 400 that says which field and why. Empty values pass."""

from __future__ import annotations

from typing import Any

from inference.errors import BadRequest


def refuse(field: str, given: object, why: str) -> None:
    """Raises when `given` is anything but null, false, zero or empty."""
    if given:
        raise BadRequest(f'"{field}": {why}', field)


def refuse_images(field: str, given: list[Any] | None) -> None:
    refuse(field, given, "this model does not take images")


def require_model(model: str | None) -> str:
    if not model:
        raise BadRequest("model is required", "model")
    return model
