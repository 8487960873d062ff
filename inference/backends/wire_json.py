"""JSON of other servers: read without trust, and the words of their errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import structs

from inference.backends.wire import WireError
from inference.tools.family import made
from inference.types import ToolCall

_MOST_WORDS: Final = 600
_SHOWN: Final = 80
_NOT_TAKEN: Final = re.compile(
    r"unsupported|not support|unrecogni|unknown|unexpected|not permitted|(not|only) allowed|deprecated|cannot both",
    re.IGNORECASE,
)
_TAGS: Final = re.compile(rb"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def decoded(data: bytes) -> Any:
    """Raises WireError for what is not JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WireError(f"its answer is not JSON: {_shown(data)}") from None


def object_of(data: bytes) -> dict[str, Any]:
    """Raises WireError for what is not a JSON object."""
    value = decoded(data)
    if not isinstance(value, dict):
        raise WireError(f"its answer is not a JSON object: {_shown(data)}")
    return value


def entries(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list; an absent one is empty, as Go's servers write it. Raises WireError for no list."""
    listed = value.get(name)
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise WireError(f"its answer has no list of {name}")
    return [entry for entry in listed if isinstance(entry, dict)]


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def count(value: object) -> int | None:
    """A number that counts something; None for what does not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        return None
    return int(value)


def call_of(id: str, name: str, written: object) -> ToolCall:
    """A call with its arguments as an object or as the JSON text of one; nothing at all is none. It gets an id where it
    has none. Raises WireError for what no function can be called with."""
    if isinstance(written, str):
        try:
            written = msgspec.json.decode(written) if written.strip() else {}
        except (msgspec.DecodeError, RecursionError):
            raise WireError(f"its call of {name!r} has arguments that are not JSON") from None
    call = made(name, {} if written is None else written) if isinstance(written, dict | None) else None
    if call is None:
        raise WireError(f"its call of {name!r} has arguments that are no JSON object, or no name")
    return structs.replace(call, id=id) if id else call


def words(body: bytes) -> str:
    """Of an error's body, in any of the APIs' shapes or as plain text; '' where there are none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _bounded(_TAGS.sub(b" ", body[:8192]).decode("utf-8", "replace"))
    return _bounded(_said(value))


def not_taken(words: str, names: Iterable[str]) -> str:
    """The first of these fields that a refusal is about because the server, or the model, has no such field; ''."""
    return next((name for name in names if name in words), "") if _NOT_TAKEN.search(words) else ""


def error_of(value: dict[str, Any]) -> str | None:
    """The words of an answer that is an error; None for one that is not."""
    if value.get("error") or value.get("object") == "error" or value.get("type") == "error":
        return _bounded(_said(value)) or "an error without words"
    return None


def _said(value: object) -> str:
    """`{"error": "…"}`, `{"error": {"message": "…"}}`, and what FastAPI and others write: `detail`, `message`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, map(_said, value)))
    if not isinstance(value, dict):
        return ""
    for name in ("error", "message", "detail", "msg"):
        if said := _said(value.get(name)):
            place = value.get("loc")
            return (
                f"{'.'.join(map(str, place))}: {said}" if name == "msg" and isinstance(place, list) else said
            )
    return ""


def _bounded(said: str) -> str:
    said = " ".join(said.split())
    return said if len(said) <= _MOST_WORDS else said[: _MOST_WORDS - 1] + "…"


def _shown(data: bytes) -> str:
    return repr(data[:_SHOWN].decode("utf-8", "replace"))
