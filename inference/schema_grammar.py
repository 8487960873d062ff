"""JSON schema -> EBNF in which white space is bounded, so that no model can lose itself in it.

xgrammar's own translation allows any white space between any two tokens, and small models then write nothing else.
Here one space may follow a colon or a comma. Properties come in the order of the schema; others come only where
`additionalProperties` asks for them, or where there is no `properties`. Keywords that grammars cannot express
(`uniqueItems`, `multipleOf`, `not`, `if`, …) are ignored, as Ollama ignores them. For what could be expressed but is
not here, `Unsupported` is raised: an answer that only looks constrained helps nobody.
"""

from __future__ import annotations

import json
from typing import Any

from inference.json_pointer import resolve
from inference.number_grammar import bounded
from inference.pattern_grammar import ANY, Node, Repeat, counted, ebnf, parse, quoted, relaxed, states

Schema = Any
"""A JSON schema, decoded: an object or a boolean."""

CHAR = r'([^"\\\x00-\x1f] | "\\" ["\\/bfnrt] | "\\u" [0-9a-cefA-CEF] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])'
"""One character inside of a JSON string; none of its escapes is half a surrogate pair.

Always written out, never a rule of its own: where a token may run over the end of a rule, xgrammar cannot tell
beforehand whether it fits, and tries most of the vocabulary anew at each step (150,000 tokens: 250 ms a token).
"""

VALUE_RULES = rf"""
sp ::= " "?
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{{" (pair ("," sp pair)*)? "}}"
pair ::= string ":" sp value
array ::= "[" (value ("," sp value)*)? "]"
string ::= "\"" {CHAR}* "\""
number ::= "-"? ("0" | [1-9] [0-9]{{0,15}}) ("." [0-9]{{1,16}})? ([eE] [+-]? [0-9]{{1,3}})?
integer ::= "-"? ("0" | [1-9] [0-9]{{0,15}})
"""

JSON_OBJECT = "root ::= object" + VALUE_RULES
"""Any JSON object."""

_YEAR, _MONTH, _DAY = "[0-9]{4}", '("0" [1-9] | "1" [0-2])', '("0" [1-9] | [12] [0-9] | "3" [01])'
_DATE = f'{_YEAR} "-" {_MONTH} "-" {_DAY}'
_CLOCK = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]'
_TIME = f'{_CLOCK} ":" [0-5] [0-9] ("." [0-9]{{3}})? ("Z" | [+-] {_CLOCK})'
_HEX = "[0-9a-f]"
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f'{_DATE} "T" {_TIME}',
    "uuid": f'{_HEX}{{8}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{12}}',
}
"""Those that llama.cpp's grammars know; every other `format` is only a note."""

_BEYOND = ("patternProperties", "propertyNames", "unevaluatedProperties", "unevaluatedItems")
_OBJECT_WORDS = ("properties", "required", "additionalProperties", "minProperties", "maxProperties")
_ARRAY_WORDS = ("items", "prefixItems", "minItems", "maxItems")
_STRING_WORDS = ("pattern", "minLength", "maxLength", "format")
_NUMBER_WORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


TERMS = 5_000
"""Of one translation; each takes some 5 us on the event loop."""
DEEPEST = 100
"""Terms inside of terms; alternatives that are references are written where they stand."""

STATES_TOKENS = 1_200_000
"""What counted repetitions in strings may cost, in states that most tokens are tried against: 8 states with 150,000
tokens, which take 0.2 s; 100 states would take 7 s."""


class Unsupported(ValueError):
    """Beyond this translation."""


class TooLarge(ValueError):
    """References and alternatives multiply into too large a grammar."""


def grammar_of(schema: Schema, vocab_size: int) -> tuple[str, list[str]]:
    """EBNF with the rule `root`, and what it leaves open, such as 'maxLength 200', since it would cost too much.

    The schema has passed `grammar.check_bounds`. Raises Unsupported or TooLarge.
    """
    translation = _Translation(schema, STATES_TOKENS / vocab_size)
    return translation.text(), translation.relaxed


def rules_of(schema: Schema, places: list[str], vocab_size: int) -> tuple[list[str], str, list[str]]:
    """For places in a schema, such as '#/$defs/a': the names of their rules, the EBNF of all rules without a root, and
    what is left open. Raises Unsupported or TooLarge."""
    translation = _Translation(schema, STATES_TOKENS / vocab_size)
    names = [translation.reference(place) for place in places]
    return names, translation.rules(), translation.relaxed


class _Translation:
    def __init__(self, schema: Schema, states: float) -> None:
        self.relaxed: list[str] = []
        self._whole = schema
        self._states = states
        self._terms = 0
        self._rules: list[str] = []
        self._named: dict[str, str] = {}
        self._waiting: list[tuple[int, str]] = []
        self._depth = 0

    def text(self) -> str:
        root = f"root ::= {self._term(self._whole)}"
        self._write_references()
        return "\n".join([root, *self._rules]) + VALUE_RULES

    def rules(self) -> str:
        self._write_references()
        return "\n".join(self._rules) + VALUE_RULES

    def _rule(self, body: str) -> str:
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name} ::= {body}")
        return name

    def reference(self, pointer: str) -> str:
        """A rule for each target, made once: so a schema may hold itself."""
        if pointer not in self._named:
            index = len(self._rules)
            self._named[pointer] = f"r{index}"
            self._rules.append("")
            self._waiting.append((index, pointer))
        return self._named[pointer]

    def _write_references(self) -> None:
        """One after the other and not one inside of the other: a chain of them may be long."""
        while self._waiting:
            index, pointer = self._waiting.pop()
            self._rules[index] = f"r{index} ::= {self._term(resolve(self._whole, pointer))}"

    def _term(self, schema: Schema) -> str:
        """One term of EBNF: a name, a literal, or something in parentheses."""
        self._terms += 1
        if self._terms > TERMS:
            raise TooLarge(f"it makes a grammar of more than {TERMS} terms")
        if self._depth >= DEEPEST:
            raise TooLarge(f"its alternatives lead more than {DEEPEST} deep, one inside of the other")
        self._depth += 1
        try:
            return self._written(schema)
        finally:
            self._depth -= 1

    def _written(self, schema: Schema) -> str:
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, dict):
            raise Unsupported("false allows nothing")
        if "$ref" in schema:
            return self.reference(schema["$ref"])
        if "const" in schema:
            return _literal(schema["const"])
        if "enum" in schema:
            return "(" + " | ".join(map(_literal, schema["enum"])) + ")"
        if "allOf" in schema:
            return self._term(self._merged(schema))
        for word in ("anyOf", "oneOf"):
            if word in schema:
                rest = {key: value for key, value in schema.items() if key != word}
                branches = [self._term(self._joined(rest, branch)) for branch in schema[word]]
                return "(" + " | ".join(branches) + ")"
        if word := next((word for word in _BEYOND if schema.get(word)), ""):
            raise Unsupported(f"{word} cannot be enforced")
        kinds = _kinds(schema)
        terms = [self._kind(kind, schema) for kind in kinds]
        return terms[0] if len(terms) == 1 else "(" + " | ".join(terms) + ")"

    def _kind(self, kind: str, schema: dict[str, Any]) -> str:
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return self._array(schema)
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            text = bounded(kind, schema)
            if text is None:
                raise Unsupported("no number is in the bounds of minimum and maximum")
            return text
        if kind == "boolean":
            return '("true" | "false")'
        if kind == "null":
            return '"null"'
        return "value"

    def _merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        """allOf: all parts as one schema."""
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            merged = self._joined(merged, part)
        return merged

    def _joined(self, schema: dict[str, Any], part: Schema) -> dict[str, Any]:
        """Both at once: properties and required add up, any other keyword may be said once or twice the same."""
        seen = set()
        while isinstance(part, dict) and "$ref" in part and schema:
            if part["$ref"] in seen:
                raise Unsupported("a $ref leads to itself")
            seen.add(part["$ref"])
            part = resolve(self._whole, part["$ref"])
        if part is True:
            return schema
        if not isinstance(part, dict):
            raise Unsupported("false allows nothing")
        joined = dict(schema)
        for key, value in part.items():
            if key not in joined or key in (
                "title",
                "description",
                "default",
                "examples",
                "$defs",
                "$comment",
            ):
                joined[key] = value
            elif key == "properties":
                joined[key] = {**joined[key], **value}
            elif key == "required":
                joined[key] = [*joined[key], *(name for name in value if name not in joined[key])]
            elif key == "allOf":
                joined[key] = [*joined[key], *value]
            elif joined[key] != value:
                raise Unsupported(f"two values of {key}")
        return joined

    def _object(self, schema: dict[str, Any]) -> str:
        properties: dict[str, Schema] = dict(schema.get("properties", {}))
        required = set(schema.get("required", ()))
        extra = schema.get("additionalProperties", not properties)
        for name in schema.get("required", ()):
            properties.setdefault(name, extra if isinstance(extra, dict) else True)
        least, most = schema.get("minProperties", 0), schema.get("maxProperties")
        if not properties:
            if extra is False:
                return '"{}"'
            pair = self._rule(f'string ":" sp {self._term(extra)}') if extra is not True else "pair"
            return _listed("{", pair, "}", least, most)
        if least > len(required) or (most is not None and most < len(properties)):
            raise Unsupported("a number of properties that are named")
        return self._named_pairs(properties, required, extra)

    def _named_pairs(self, properties: dict[str, Schema], required: set[str], extra: Schema) -> str:
        """`tails[i]` is what may follow once a pair is written and the properties before i are done with."""
        names = list(properties)
        pairs = [
            self._rule(
                f"{quoted(json.dumps(name, ensure_ascii=False) + ':')} sp {self._term(properties[name])}"
            )
            for name in names
        ]
        more = "" if extra is False else self._rule(f'string ":" sp {self._term(extra)}')
        tails = [self._rule(f'("," sp {more})*') if more else '""']
        for name, pair in zip(reversed(names), reversed(pairs), strict=True):
            step = f'"," sp {pair}' if name in required else f'("," sp {pair})?'
            tails.append(self._rule(f"{step} {tails[-1]}"))
        tails.reverse()
        starts = []
        for index, name in enumerate(names):
            starts.append(f"{pairs[index]} {tails[index + 1]}")
            if name in required:
                break
        else:
            starts.append(f"({more} {tails[-1]})?" if more else '""')
        return self._rule(f'"{{" ({" | ".join(starts)}) "}}"')

    def _array(self, schema: dict[str, Any]) -> str:
        items = schema.get("items", True)
        first = schema.get("prefixItems", items if isinstance(items, list) else [])
        if isinstance(items, list):
            items = schema.get("additionalItems", True)
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if not first:
            return '"[]"' if items is False else _listed("[", self._rule(self._term(items)), "]", least, most)
        terms = [self._term(item) for item in first]
        if most is not None and most < len(first):
            raise Unsupported("maxItems below the number of prefixItems")
        text = ' "," sp '.join(terms)
        if items is not False:
            fewest = max(least - len(first), 0)
            text += (
                f' ("," sp {self._term(items)}){counted(fewest, None if most is None else most - len(first))}'
            )
        return self._rule(f'"[" {text} "]"')

    def _string(self, schema: dict[str, Any]) -> str:
        if "pattern" in schema:
            node = self._affordable(parse(schema["pattern"]), "pattern")
            return f'("\\"" {ebnf(node)} "\\"")'
        if schema.get("format") in FORMATS:
            return f'("\\"" {FORMATS[schema["format"]]} "\\"")'
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if not least and most is None:
            return "string"
        bounds = " ".join(f"{name} {schema[name]}" for name in ("minLength", "maxLength") if name in schema)
        node = self._affordable(Repeat(ANY, least, most), bounds)
        assert isinstance(node, Repeat)
        return f'("\\"" {CHAR}{counted(node.least, node.most)} "\\"")'

    def _affordable(self, node: Node, what: str) -> Node:
        """The node as it is while the budget lasts, else without its counts."""
        cost = states(node)
        if cost <= self._states or cost <= 1:
            self._states -= cost
            return node
        self.relaxed.append(what)
        return relaxed(node)


def _kinds(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, list):
        return kind
    if kind is not None:
        return [kind]
    for name, words in (
        ("object", _OBJECT_WORDS),
        ("array", _ARRAY_WORDS),
        ("string", _STRING_WORDS),
        ("number", _NUMBER_WORDS),
    ):
        if any(word in schema for word in words):
            return [name]
    return ["value"]


def _literal(value: Any) -> str:
    return quoted(json.dumps(value, ensure_ascii=False))


def _listed(start: str, item: str, end: str, least: int, most: int | None) -> str:
    """Items with commas between them, as many as the bounds allow."""
    if most == 0:
        return quoted(start + end)
    rest = f'("," sp {item}){counted(max(least - 1, 0), None if most is None else most - 1)}'
    body = f"{item} {rest}"
    return f'("{start}" {body if least > 0 else f"({body})?"} "{end}")'
