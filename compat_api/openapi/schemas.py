"""Schemas of what goes over the wire, from the types that requests are decoded into and those of answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson

from compat_api.efforts import THINK_LEVELS
from compat_api.openapi.parameters import Json
from registry.parameters import REQUEST_KINDS

_REF: Final = "#/components/schemas/"
_QUALIFIED: Final = re.compile(r"compat_api\.((?:\w+\.)+)(\w+)")
_KINDS: Final[dict[str, Json]] = {
    "integer": {"type": "integer"},
    "float32": {"type": "number"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "array": {"type": "array", "items": {"type": "string"}},
}
_TEXTS: Final[list[Json]] = [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
_IDS: Final[list[Json]] = [
    {"type": "array", "items": {"type": "integer"}},
    {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
]
_FORMAT: Final[Json] = {"anyOf": [{"enum": ["json", "", None]}, {"type": "object"}]}
_PARTS: Final[Json] = {"type": ["string", "array", "null"], "items": {"type": "object"}}

UNTYPED: Final[dict[tuple[str, str], Json]] = {
    ("ollama", "options"): {
        "type": ["object", "null"],
        "properties": {
            name: {"anyOf": [_KINDS[kind], {"type": "null"}]}
            for name, kind in {**REQUEST_KINDS, "device": "string"}.items()
        },
    },
    ("ollama", "keep_alive"): {
        "type": ["number", "string", "null"],
        "description": "seconds, or 5m, 1h30m, -1",
    },
    ("ollama", "think"): {"anyOf": [{"type": ["boolean", "null"]}, {"enum": sorted(THINK_LEVELS)}]},
    ("ollama", "format"): _FORMAT,
    ("ollama", "input"): {"anyOf": [*_TEXTS, {"type": "null"}]},
    ("openai", "content"): _PARTS,
    ("openai", "prompt"): {"anyOf": [*_TEXTS, *_IDS]},
    ("openai", "input"): {"anyOf": [*_TEXTS, *_IDS, {"type": "array", "items": {"type": "object"}}]},
    ("openai", "tool_choice"): {"type": ["string", "object", "null"]},
    ("anthropic", "content"): _PARTS,
    ("anthropic", "system"): _PARTS,
}
"""By API and field: what its own code reads, where the type of the body leaves the field open."""


def of(types: Sequence[Any]) -> tuple[list[Json], Json]:
    """The schemas of `types`, in their order, and the components that they name."""
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF + "{name}")
    for name, component in components.items():
        _complete(_api(name, types), component)
    return _renamed(schemas), _renamed(components)


def _api(name: str, types: Sequence[Any]) -> str:
    """Whose type that is, of those that requests are decoded into."""
    owners = {kind.__name__: kind.__module__ for kind in types if isinstance(kind, type)}
    qualified = name if "." in name else owners.get(name, "")
    parts = qualified.split(".")
    return parts[1] if len(parts) > 1 else ""


def _complete(api: str, component: Json) -> None:
    """Open fields get what UNTYPED says; a default of null is no news: null is the same as absent everywhere."""
    for field, schema in component.get("properties", {}).items():
        if schema.get("default", ...) is None:
            del schema["default"]
        says = UNTYPED.get((api, field))
        if says is not None and (not schema or field == "options"):
            schema.clear()
            schema.update(says)


def _renamed(shown: Any) -> Any:
    """Two types of one name come with their modules: compat_api.ollama.requests.ChatBody is OllamaChatBody."""

    def short(match: re.Match[str]) -> str:
        parts = match[1].replace("_requests", "").replace("requests", "").replace(".", "_").split("_")
        return "".join(part.capitalize() for part in parts) + match[2]

    return orjson.loads(_QUALIFIED.sub(short, orjson.dumps(shown).decode()))


def required(component: Json, names: Sequence[str]) -> None:
    """Fields without which a body is refused."""
    for name in names:
        schema = component["properties"][name]
        kinds = schema.get("anyOf")
        if kinds:
            schema["anyOf"] = [kind for kind in kinds if kind != {"type": "null"}]
    component["required"] = sorted({*component.get("required", ()), *names})
