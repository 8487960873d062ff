"""Arguments that a model writes as text without quotation marks: strings, or JSON, as the tool's schema says."""

from __future__ import annotations

from typing import Any

import msgspec

from inference.json_pointer import resolve

_PYTHON = {"True": True, "False": False, "None": None}
"""As templates that show earlier calls write them."""
_KINDS: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
_DEEPEST = 16


def value_of(text: str, name: str, schema: dict[str, Any]) -> Any:
    """The argument `name` of a tool with this schema: the text itself where the schema takes only strings or the text
    is no JSON; where it takes other types as well, a string unless the JSON is of one of them."""
    properties = schema.get("properties")
    part = properties.get(name, True) if isinstance(properties, dict) else True
    kinds = _kinds(part, schema, 0)
    stripped = text.strip()
    if kinds and stripped in _PYTHON and _KINDS[type(_PYTHON[stripped])] in kinds:
        return _PYTHON[stripped]
    try:
        value = msgspec.json.decode(stripped)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
    kind = _KINDS[type(value)]
    fits = kind in kinds or (kind == "integer" and "number" in kinds)
    return text if kind == "string" or ("string" in kinds and not fits) else value


def _kinds(schema: Any, whole: dict[str, Any], depth: int) -> frozenset[str]:
    """The types that a schema takes; none where it does not say."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return frozenset()
    if isinstance(pointer := schema.get("$ref"), str):
        try:
            return _kinds(resolve(whole, pointer), whole, depth + 1)
        except (KeyError, IndexError, TypeError):
            return frozenset()
    said = schema.get("type")
    if isinstance(said, str):
        return frozenset((said,))
    if isinstance(said, list):
        return frozenset(kind for kind in said if isinstance(kind, str))
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        return frozenset(_KINDS.get(type(value), "") for value in values)
    for word in ("anyOf", "oneOf"):
        if isinstance(parts := schema.get(word), list):
            found = [_kinds(part, whole, depth + 1) for part in parts]
            return frozenset().union(*found) if all(found) else frozenset()
    parts = schema.get("allOf")
    found = [_kinds(part, whole, depth + 1) for part in parts] if isinstance(parts, list) else []
    return next(filter(None, found), frozenset())
