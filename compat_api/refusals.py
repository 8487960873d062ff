"""What a request may name but cannot have here: a 400 that says which field and why. Empty values pass."""

from __future__ import annotations

from typing import Any

from inference.errors import BadRequest

_MOST_TOP_LOGPROBS = 20


def refuse(field: str, given: object, why: str) -> None:
    """Raises when `given` is anything but null, false, zero or empty."""
    if given:
        raise BadRequest(f'"{field}": {why}', field)


def refuse_images(field: str, given: list[Any] | None) -> None:
    refuse(field, given, "this model does not take images")


def refuse_logprobs(logprobs: bool | None, top_logprobs: int | None) -> None:
    if not 0 <= (top_logprobs or 0) <= _MOST_TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {_MOST_TOP_LOGPROBS}", "top_logprobs")
    refuse("logprobs", logprobs, "log probabilities are not available; leave it out or send false")


def require_model(model: str | None) -> str:
    if not model:
        raise BadRequest("model is required", "model")
    return model
