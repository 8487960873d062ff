"""What a schema may ask for: refused with its place where it cannot be had, translated where it can."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from inference.errors import InvalidGrammar
from inference.grammar import MAX_BYTES, MAX_DEPTH, MAX_ENUM_VALUES, check_bounds, structured_config
from inference.number_grammar import bounded
from inference.pattern_grammar import ebnf, parse, repetitions
from inference.schema_grammar import TERMS
from inference.types import Constraint

PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def _nested(depth: int) -> dict[str, Any]:
    return {"items": _nested(depth - 1)} if depth > 1 else {}


def _multiplying() -> dict[str, Any]:
    """Each level twice the one before: 2^30 objects in 3 KB."""
    levels: dict[str, Any] = {"L0": {"type": "integer"}}
    for level in range(1, 31):
        below = {"$ref": f"#/$defs/L{level - 1}"}
        inner = {"title": "x", "anyOf": [below, {"allOf": [below]}]}
        levels[f"L{level}"] = {"type": "object", "properties": {"a": inner}, "title": "x"}
    return {"$ref": "#/$defs/L30", "$defs": levels}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ("not JSON", "$: not JSON"),
        ("[1]", "$: a schema is a JSON object"),
        ("true", "$: a schema is a JSON object"),
        ("[" * 50_000, "$: not JSON"),
        ({"description": "x" * MAX_BYTES}, f"at most {MAX_BYTES}"),
        (_nested(MAX_DEPTH + 1), "$" + ".items" * MAX_DEPTH + ": nested deeper"),
        ({"type": "objekt"}, "$.type: 'objekt'"),
        ({"properties": {"a": {"type": ["string", "text"]}}}, "$.properties.a.type: 'text'"),
        ({"properties": []}, "$.properties: "),
        ({"properties": {"a": 1}}, "$.properties.a: "),
        ({"items": [{}, 3]}, "$.items[1]: "),
        ({"anyOf": []}, "$.anyOf: "),
        ({"oneOf": {}}, "$.oneOf: "),
        ({"required": "name"}, "$.required: "),
        ({"required": [1]}, "$.required: "),
        ({"enum": []}, "$.enum: "),
        ({"items": {"enum": [1] * (MAX_ENUM_VALUES + 1)}}, f"$.items.enum: more than {MAX_ENUM_VALUES}"),
        ({"minLength": -1}, "$.minLength: "),
        ({"maxItems": 1.5}, "$.maxItems: "),
        ({"maxItems": True}, "$.maxItems: "),
        ({"minLength": 3, "maxLength": 2}, "$.minLength: larger than maxLength"),
        ({"minimum": "1"}, "$.minimum: "),
        # patterns
        ({"pattern": 1}, "$.pattern: not a string"),
        ({"properties": {"a": {"pattern": "(a"}}}, "$.properties.a.pattern: not a regular expression"),
        ({"pattern": "a)"}, "$.pattern: not a regular expression"),
        ({"pattern": "[a"}, "$.pattern: not a regular expression"),
        ({"pattern": "*a"}, "$.pattern: not a regular expression"),
        ({"pattern": "a{3,2}"}, "$.pattern: not a regular expression"),
        ({"pattern": "[z-a]"}, "$.pattern: not a regular expression"),
        ({"pattern": "(" * 5_000 + ")" * 5_000}, "$.pattern: not a regular expression"),
        ({"pattern": "(?=a)b"}, "$.pattern: a look-around"),
        ({"pattern": "(?<!a)b"}, "$.pattern: a look-around"),
        ({"pattern": "(a)\\1"}, "$.pattern: \\1"),
        ({"pattern": "\\bword\\b"}, "$.pattern: \\b"),
        ({"pattern": "a^b"}, "$.pattern: a ^"),
        # repetitions, one inside of the other
        ({"pattern": "a{1,1001}"}, "$.pattern: repeats 1001 times"),
        ({"pattern": "(a{1,1000}){1,1000}"}, "$.pattern: repeats 1000000 times"),
        ({"pattern": "(((((a{1000}){1000}){1000}){1000}){1000})"}, "$.pattern: repeats"),
        ({"pattern": "(([a-z]{20,})?b){60}"}, "$.pattern: repeats 1200 times"),
        ({"maxItems": 1001}, "$: items repeat 1001 times"),
        ({"maxItems": 50, "items": {"minItems": 30}}, "$.items: items repeat 1500 times"),
        ({"maxItems": 50, "items": {"pattern": "a{30}"}}, "$.items.pattern: repeats 1500 times"),
        # references
        ({"$ref": "#/$defs/none"}, "$.$ref: "),
        ({"$ref": "https://example.com/schema"}, "$.$ref: "),
        ({"$ref": 1}, "$.$ref: "),
        ({"$ref": "#"}, "$.$ref: '#' leads back"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            "leads back",
        ),
        ({"anyOf": [{"type": "null"}, {"allOf": [{"$ref": "#"}]}]}, "leads back to itself"),
    ],
)
def test_a_schema_out_of_bounds_is_refused_with_its_place(schema: object, place: str) -> None:
    with pytest.raises(InvalidGrammar) as error:
        check_bounds(Constraint(schema if isinstance(schema, str) else json.dumps(schema)))
    assert place in str(error.value)
    assert error.value.field == "format"


@pytest.mark.parametrize(
    "schema",
    [
        "",
        {},
        PERSON,
        _nested(MAX_DEPTH),
        {"enum": list(range(MAX_ENUM_VALUES))},
        {"maxItems": 1000, "items": {"type": "string", "maxLength": 5_000}},
        {"pattern": "^[a-z]{1,10}(,[a-z]{1,10}){0,9}$"},
        {"pattern": "a{1000}"},
        {"maxItems": 50, "prefixItems": [{"pattern": "a{30}"}]},
        {"maxItems": 50, "items": [{"pattern": "a{30}"}]},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]},
        {"minimum": 0, "exclusiveMinimum": True},
        {"type": "object", "description": 1, "unknown": [{}], "format": "none"},
    ],
)
def test_a_schema_in_bounds_passes(schema: object) -> None:
    check_bounds(Constraint(schema if isinstance(schema, str) else json.dumps(schema)))


def test_alternatives_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    constraint = Constraint(json.dumps(_multiplying()))
    check_bounds(constraint)
    with pytest.raises(InvalidGrammar, match=f"more than {TERMS} terms"):
        structured_config(constraint, after_thinking=False)


@pytest.mark.parametrize(
    ("arguments", "thinking"),
    [
        ({"after_thinking": False}, ""),
        ({"after_thinking": True}, "optional"),
        ({"after_thinking": True, "thinking_open": True}, "open"),
    ],
)
def test_the_config_says_where_thoughts_may_come(arguments: dict[str, Any], thinking: str) -> None:
    for schema in ("", json.dumps(PERSON)):
        config = structured_config(Constraint(schema), **arguments)
        assert config["thinking"] == thinking
        assert "root ::= " in config["grammar"]
        assert json.loads(json.dumps(config)) == config


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {"^a": {}}},
        {"type": "integer", "minimum": 5, "maximum": 2},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1},
        {"propertyNames": {"pattern": "^[a-z]$"}},
    ],
)
def test_what_cannot_be_enforced_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidGrammar):
        structured_config(Constraint(json.dumps(schema)), after_thinking=False)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        (
            {"minimum": 0.1, "maximum": 0.9},
            ["0.10", "0.5", "0.90"],
            ["0.09", "0.91", "1!5", "015", "0.95", "1.5"],
        ),
        ({"exclusiveMinimum": 1.5, "maximum": 1.6}, ["1.51", "1.60"], ["1.50", "1.61", "1.5", "1 55"]),
        ({"minimum": -0.75, "maximum": -0.25}, ["-0.30", "-0.75"], ["-0.76", "-0.2", "0.3"]),
        ({"minimum": 1.55, "maximum": 1.56}, ["1.555"], ["1.54", "1.57", "1!55"]),
    ],
)
def test_bounds_between_two_whole_numbers_hold(
    bounds: dict[str, float], inside: list[str], outside: list[str]
) -> None:
    term = bounded("number", bounds)
    assert term is not None
    pattern = re.compile(re.sub(r'"([^"]*)"', lambda m: re.escape(m[1]), term).replace(" ", ""))
    assert any(pattern.fullmatch(text) for text in inside)
    for text in outside:
        assert not pattern.fullmatch(text), (text, term)


@pytest.mark.parametrize(
    ("schema", "vocab_size", "relaxed", "kept"),
    [
        ({"type": "string", "maxLength": 200}, 2_000, "", "{0,200}"),
        ({"type": "string", "maxLength": 200}, 150_000, "maxLength 200", "*"),
        ({"type": "string", "minLength": 3, "maxLength": 200}, 150_000, "minLength 3 maxLength 200", "+"),
        ({"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"}, 150_000, "", "[A-Z]{3}"),
        ({"type": "string", "pattern": "^.{1,80}$"}, 150_000, "pattern", "+"),
        ({"type": "string", "pattern": "^([a-z]{1,30} ){1,30}$"}, 150_000, "pattern", "[a-z]+"),
    ],
)
def test_counts_that_cost_seconds_with_a_large_vocabulary_are_left_open_and_named(
    schema: dict[str, Any], vocab_size: int, relaxed: str, kept: str
) -> None:
    config = structured_config(Constraint(json.dumps(schema)), after_thinking=False, vocab_size=vocab_size)
    assert config["relaxed"] == relaxed
    assert kept in config["grammar"].splitlines()[0]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("abc", 1),
        ("a*", 1),
        ("a{7}", 7),
        ("a{2,}", 2),
        ("(a{2}|b{5})c{3}", 5),
        ("((a{2}){3}b){4}", 24),
        ("a{x}", 1),
        ("a{2,x}", 1),
        ("a{,3}", 1),
    ],
)
def test_repetitions_count_along_the_deepest_path(pattern: str, count: int) -> None:
    assert repetitions(parse(pattern)) == count


def _as_regex(term: str) -> re.Pattern[str]:
    """EBNF without rules, as Python's regular expressions have it."""
    parts = re.findall(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\S', term)
    literal = [re.escape(json.loads(part)) if part.startswith('"') else part for part in parts]
    return re.compile("".join(literal), re.DOTALL)


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("^a|b$", ["a", "axy", "b"], ["c", "xb"]),
        ("^https?://", ["http://x", "https://"], ["ftp://x", ""]),
        ("abc", ["abc"], ["abcd", "xabc"]),
        ("^(?:a|bc){2}$", ["abc", "bca", "aa"], ["a", "abca"]),
        ("^(?<year>[0-9]{4})$", ["2026"], ["206"]),
        ("^[^a-c]$", ["d", "日", "😀"], ["a", "b"]),
        ("^\\w\\W\\d\\D\\S$", ["a-1xy"], ["a-1x "]),
        ("^[\\w.-]+$", ["a-b.c_9"], ["a b", "a]"]),
        ("^[\\]\\^\\\\-]$", ["]", "^", "-", "\\\\"], ["a"]),
        ("^\\u00e9\\x41\\/$", ["éA/"], ["eA/"]),
        ('^"\\\\\\n$', ['\\"\\\\\\n'], ['"\\\n']),
        ("^a{x}\\.$", ["a{x}."], ["ax"]),
        ("^a+?b*?c??$", ["abbc", "a"], ["bc"]),
        ("^[😀-😂]$", ["😁"], ["😃"]),
        ("", [""], ["a"]),
    ],
)
def test_a_pattern_becomes_a_grammar_of_the_same_texts(
    pattern: str, matches: list[str], others: list[str]
) -> None:
    """Texts as they stand between the quotes of a JSON string."""
    regex = _as_regex(ebnf(parse(pattern)))
    for text in matches:
        assert regex.fullmatch(text), (text, regex.pattern)
    for text in others:
        assert not regex.fullmatch(text), (text, regex.pattern)


@pytest.mark.parametrize(
    ("least", "most"),
    [
        (0, 9),
        (1, 12),
        (-5, 120),
        (-120, -7),
        (99, 101),
        (100, 999),
        (7, 7),
        (0, 0),
        (17, 1345),
        (None, 5),
        (250, None),
        (None, -3),
        (-10, None),
        (1.5, 9.2),
    ],
)
def test_integers_have_a_text_exactly_when_they_are_in_bounds(
    least: float | None, most: float | None
) -> None:
    schema = {key: value for key, value in (("minimum", least), ("maximum", most)) if value is not None}
    regex = _as_regex(bounded("integer", schema) or "")
    for number in range(-1500, 1500):
        inside = (least is None or number >= least) and (most is None or number <= most)
        assert bool(regex.fullmatch(str(number))) is inside, number
    assert not regex.fullmatch("007")


@pytest.mark.parametrize(
    ("schema", "inside", "outside"),
    [
        ({"minimum": 0, "maximum": 1}, ["0", "1", "0.5", "0.999"], ["1.5", "-0.5", "2", "1.0"]),
        ({"exclusiveMinimum": 0, "maximum": 2}, ["0.5", "0.01", "1", "2", "1.5"], ["0", "0.0", "2.1", "-1"]),
        ({"minimum": 0, "exclusiveMaximum": 2}, ["0", "1.999", "0.0"], ["2", "2.0"]),
        ({"minimum": -2, "maximum": 1}, ["-2", "-1.5", "-0.3", "0.3", "1"], ["-2.5", "1.5", "-3"]),
        ({"exclusiveMaximum": 0}, ["-1", "-0.5", "-12.25"], ["0", "-0.0", "0.5"]),
        ({"minimum": 2.5}, ["3", "3.0", "40.1"], ["2", "2.4", "-3"]),
        ({"minimum": 0, "exclusiveMinimum": True}, ["0", "7.5"], ["-1"]),
    ],
)
def test_decimals_have_no_text_out_of_bounds(
    schema: dict[str, Any], inside: list[str], outside: list[str]
) -> None:
    regex = _as_regex(bounded("number", schema) or "")
    assert [text for text in inside if not regex.fullmatch(text)] == []
    assert [text for text in outside if regex.fullmatch(text)] == []


@pytest.mark.parametrize(
    ("kind", "schema", "expected"),
    [("integer", {}, "integer"), ("number", {}, "number"), ("integer", {"minimum": 3, "maximum": 2}, None)],
)
def test_numbers_without_bounds_are_a_rule_and_without_room_are_none(
    kind: str, schema: dict[str, Any], expected: str | None
) -> None:
    assert bounded(kind, schema) == expected
