"""Where in a JSON schema a local `$ref` leads."""

from __future__ import annotations

from typing import Any


def resolve(whole: Any, pointer: str) -> Any:
    """The place in the schema that a local `$ref` names. Raises KeyError."""
    if not isinstance(pointer, str) or not pointer.startswith("#"):
        raise KeyError(pointer)
    place = whole
    for part in pointer[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        place = place[int(name)] if isinstance(place, list) and name.isdigit() else _member(place, name)
    return place


def _member(place: Any, name: str) -> Any:
    if isinstance(place, dict):
        return place[name]
    raise KeyError(name)
