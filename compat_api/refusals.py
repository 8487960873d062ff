"""What a request may name but cannot have here: a 400 that says which field and why. Empty values pass."""

from __future__ import annotations

from inference.errors import BadRequest


def refuse(field: str, given: object, why: str) -> None:
    """Raises when `given` is anything but null, false, zero or empty."""
    if given:
        raise BadRequest(f'"{field}": {why}', field)


def require_model(model: str | None) -> str:
    if not model:
        raise BadRequest("model is required", "model")
    return model
