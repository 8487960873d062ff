"""What a request may name but cannot have here: a 400 that says which field and why. Empty values pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.errors import BadRequest, InferenceError
from inference.preparation import MAX_MESSAGES


def refuse(field: str, given: object, why: str) -> None:
    """Raises when `given` is anything but null, false, zero or empty."""
    if given:
        raise BadRequest(f'"{field}": {why}', field)


def refuse_many(field: str, given: Sequence[Any] | None) -> None:
    """A list too long is refused before anything is made of it."""
    if given and len(given) > MAX_MESSAGES:
        what = "messages" if field == "messages" else "items"
        raise BadRequest(f"{len(given)} {what}; at most {MAX_MESSAGES} are accepted", field)


def require_model(model: str | None) -> str:
    if not model:
        raise BadRequest("model is required", "model")
    return model


class BodyTooLarge(InferenceError):
    """A compressed body that would be larger than is accepted, once it is plain."""


class ThreadNotFound(InferenceError):
    """The turns that Anthropic's server would have kept under that id: none are kept here.

    Its clients send the whole conversation again when they are told so in these words of its API (a 404 with the code
    thread_not_found); without them they would be answered as if it began with its last turn.
    """

    def __init__(self, previous: str) -> None:
        super().__init__(
            f"No usable thread state was found for previous_message_id {previous[:64]!r}: this server keeps no "
            'conversations. Send all messages, with thread {"type": "create"} or without it'
        )
