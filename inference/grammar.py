"""Constraints on an answer: bounds that a schema must keep before anything compiles it, and what the worker gets.

What passes the bounds here is compiled in a process that may be killed (`worker/grammar_check.py`), since what a
grammar costs depends on the model's vocabulary (openvino-facts 17).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from inference.errors import InvalidGrammar
from inference.json_pointer import resolve
from inference.pattern_grammar import PatternError, UnsupportedPattern, parse, repetitions
from inference.schema_grammar import JSON_OBJECT, TooLarge, Unsupported, grammar_of
from inference.thinking import THINK, ThinkTags
from inference.types import Constraint

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
MAX_REPETITIONS = 1_000
"""Product of counted repetitions, one inside of the other: of patterns and of arrays."""
MAX_ENUM_VALUES = 2_000
"""Of the whole schema; these took 0.4 s with 150,000 tokens."""

LARGE_VOCABULARY = 150_000

TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_MANY_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = (
    *("additionalProperties", "additionalItems", "not", "if", "then", "else", "contains", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

Thinking = Literal["", "optional", "open"]


def check_bounds(constraint: Constraint) -> None:
    """Raises InvalidGrammar that names the place in the schema, as `$.properties.a.pattern`."""
    if not constraint.schema:
        return
    size = len(constraint.schema.encode())
    if size > MAX_BYTES:
        raise _fault("$", f"the schema has {size} bytes, at most {MAX_BYTES} are accepted")
    try:
        schema = msgspec.json.decode(constraint.schema)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _fault("$", f"not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise _fault("$", "a schema is a JSON object")
    _Bounds(schema).check()


def thinking_of(after_thinking: bool, thinking_open: bool, tags: ThinkTags) -> dict[str, str]:
    """The part of a config that says where thoughts may come, and between which tags."""
    thinking: Thinking = "open" if thinking_open else "optional" if after_thinking else ""
    return {"thinking": thinking, "open": tags.open, "close": tags.close} if thinking else {"thinking": ""}


def structured_config(
    constraint: Constraint,
    *,
    after_thinking: bool,
    thinking_open: bool = False,
    tags: ThinkTags = THINK,
    vocab_size: int = LARGE_VOCABULARY,
) -> dict[str, Any]:
    """Plain values for `worker/grammar_config.py`: `grammar`, `thinking` and its tags, and `relaxed`.

    `after_thinking`: thoughts may come first. `thinking_open`: the prompt ends inside of them. `relaxed` names what the
    grammar leaves open, because to enforce it would take seconds with so large a vocabulary; '' mostly. Call it after
    `check_bounds`. Raises InvalidGrammar.
    """
    thinking = thinking_of(after_thinking, thinking_open, tags)
    if not constraint.schema:
        return {"grammar": JSON_OBJECT, **thinking, "relaxed": ""}
    try:
        grammar, relaxed = grammar_of(msgspec.json.decode(constraint.schema), vocab_size)
    except (Unsupported, TooLarge) as error:
        raise _fault("$", str(error)) from error
    return {"grammar": grammar, **thinking, "relaxed": ", ".join(relaxed)}


def _fault(path: str, fault: str) -> InvalidGrammar:
    return InvalidGrammar(f"invalid JSON schema in format: {path}: {fault}", "format")


class _Bounds:
    """One walk over a schema: types of keywords, depth, repetitions, references."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._whole = schema
        self._enum_values = 0
        self._ending: set[int] = set()
        """Identities of schemas that are not themselves."""

    def check(self) -> None:
        self._schema(self._whole, "$", depth=1, product=1)

    def _schema(self, schema: Any, path: str, depth: int, product: int) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise _fault(path, "a schema is an object or a boolean")
        if depth > MAX_DEPTH:
            raise _fault(path, f"nested deeper than {MAX_DEPTH}")
        self._keywords(schema, path)
        self._pattern(schema, path, product)
        self._no_empty_circle(schema, path)
        inside = product * max(1, schema.get("minItems", 0), schema.get("maxItems", 0))
        if inside > MAX_REPETITIONS:
            raise _fault(path, f"items repeat {inside} times in all, at most {MAX_REPETITIONS} are accepted")
        for name, part, is_item in _parts(schema, path):
            self._schema(part, f"{path}.{name}", depth + 1, inside if is_item else product)

    def _keywords(self, schema: dict[str, Any], path: str) -> None:
        kinds = schema.get("type", [])
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if kind not in TYPES:
                raise _fault(f"{path}.type", f"{kind!r} is not a type")
        for name in _COUNTS:
            if not _is_count(schema.get(name, 0)):
                raise _fault(f"{path}.{name}", "not a whole number from 0 on")
        for least, most in zip(_COUNTS[::2], _COUNTS[1::2], strict=True):
            if most in schema and schema.get(least, 0) > schema[most]:
                raise _fault(f"{path}.{least}", f"larger than {most}")
        for name in _NUMBERS:
            # A boolean is what draft 4 has for exclusiveMinimum; it changes nothing here.
            if not isinstance(schema.get(name, 0), (int, float)):
                raise _fault(f"{path}.{name}", "not a number")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise _fault(f"{path}.required", "not a list of names")
        if "enum" in schema:
            self._enum(schema["enum"], f"{path}.enum")

    def _enum(self, values: Any, path: str) -> None:
        if not isinstance(values, list) or not values:
            raise _fault(path, "not a list of values")
        self._enum_values += len(values)
        if self._enum_values > MAX_ENUM_VALUES:
            raise _fault(path, f"more than {MAX_ENUM_VALUES} values in all")

    def _pattern(self, schema: dict[str, Any], path: str, product: int) -> None:
        if "pattern" not in schema:
            return
        path = f"{path}.pattern"
        if not isinstance(schema["pattern"], str):
            raise _fault(path, "not a string")
        try:
            count = product * repetitions(parse(schema["pattern"]))
        except UnsupportedPattern as error:
            raise _fault(path, f"{error} cannot be enforced") from error
        except (PatternError, RecursionError) as error:
            raise _fault(path, f"not a regular expression: {error}") from error
        if count > MAX_REPETITIONS:
            raise _fault(path, f"repeats {count} times in all, at most {MAX_REPETITIONS} are accepted")

    def _no_empty_circle(self, schema: dict[str, Any], path: str) -> None:
        """A schema may hold itself in its properties or items, but not be itself: that would never end. Each place is
        looked at once in all, whichever leads to it."""
        if id(schema) in self._ending:
            return
        begun = {id(schema)}
        steps = [(schema, self._same(schema, path))]
        while steps:
            part, leads = steps[-1]
            step = next(leads, None)
            if step is None:
                steps.pop()
                begun.discard(id(part))
                self._ending.add(id(part))
                continue
            pointer, target = step
            if id(target) in begun:
                raise _fault(f"{path}.$ref", f"{pointer!r} leads back to itself")
            if isinstance(target, dict) and id(target) not in self._ending:
                begun.add(id(target))
                steps.append((target, self._same(target, path)))

    def _same(self, part: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        """The schemas that an answer must match at the same place, and the reference that leads there, if one does."""
        for name in ("anyOf", "oneOf", "allOf"):
            for inside in part[name] if isinstance(part.get(name), list) else ():
                yield "", inside
        if "$ref" in part:
            pointer = part["$ref"]
            if not isinstance(pointer, str):
                raise _fault(f"{path}.$ref", "not a string")
            try:
                yield pointer, resolve(self._whole, pointer)
            except (KeyError, IndexError, TypeError) as error:
                raise _fault(f"{path}.$ref", f"{pointer!r} is no place in this schema") from error


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _parts(schema: dict[str, Any], path: str) -> Iterator[tuple[str, Any, bool]]:
    """(name, schema, whether it repeats as the item of an array) of what a schema holds."""
    for name in _MANY_BY_NAME:
        parts = schema.get(name, {})
        if not isinstance(parts, dict):
            raise _fault(f"{path}.{name}", "not an object")
        for key, part in parts.items():
            yield f"{name}.{key}", part, False
    for name in _MANY:
        parts = schema.get(name, [])
        if not isinstance(parts, list) or (name in schema and not parts):
            raise _fault(f"{path}.{name}", "not a list of schemas")
        for index, part in enumerate(parts):
            yield f"{name}[{index}]", part, False
    items = schema.get("items", True)
    for index, part in enumerate(items if isinstance(items, list) else [items]):
        many = isinstance(items, list)
        yield f"items[{index}]" if many else "items", part, not many
    for name in _ONE:
        if name in schema:
            yield name, schema[name], False
