"""Whatever a JSON schema says: it becomes a grammar within bounds, or is refused in words that name the place."""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

import pytest
from hostile_values import Draw, given, keyed, listed, one_of, values
from hypothesis import given as given_by_hypothesis
from hypothesis import settings
from hypothesis import strategies as st

from inference.errors import InvalidGrammar
from inference.grammar import check_bounds, structured_config
from inference.json_pointer import resolve
from inference.types import Constraint

KINDS = ("object", "array", "string", "integer", "number", "boolean", "null", "strange")
PATTERNS = (
    "",
    "a",
    "^[a-z]{3}$",
    "(a|b)*",
    "(",
    "(?=a)",
    "[^\\d]",
    "a{2,1}",
    "\\p{L}",
    "(a{9}){9}",
    "\\1",
    "[z-a]",
)
POINTERS = (
    "#",
    "#/$defs/a",
    "#/$defs/b",
    "#/properties/a",
    "#/nowhere",
    "http://x/y",
    "",
    "#/$defs/a/items",
    "#/anyOf/0",
)
NAMES = given("a", "b", "c", "ü", "", '"', "\\", "$ref", "a/b", "\n", "x" * 300)
COUNTS = given(0, 1, 2, 5, 40, 2000, -1, 1.0, "1", None, 10**30)
BOUNDS = given(0, 1, -1, 5, 0.5, -2.25, 1e300, -1e300, 10**30, 2**63, "1", True)


def schema(random: Random, depth: int = 0) -> Any:
    """Mostly one that can be meant; sometimes anything."""
    if random.random() < 0.04:
        return values(random)
    if depth > 4 or random.random() < 0.1:
        return random.choice((True, False, {}, {"type": "string"}, {"const": 1}))

    def inside(inner: Random) -> Any:
        return schema(inner, depth + 1)

    words = _words(inside)
    return {name: words[name](random) for name in random.sample(list(words), random.randint(1, 4))}


def _words(inside: Draw) -> dict[str, Draw]:
    many = one_of(listed(inside), lambda random: [inside(random)])
    counts = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    kind = given(*KINDS)
    return {
        "type": one_of(kind, kind, listed(kind)),
        **dict.fromkeys(("properties", "$defs", "patternProperties"), keyed(NAMES, inside)),
        **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), many),
        **dict.fromkeys(("additionalProperties", "not", "if", "contains", "propertyNames"), inside),
        **dict.fromkeys(counts, COUNTS),
        **dict.fromkeys(bounds, BOUNDS),
        "items": one_of(inside, many),
        "required": listed(NAMES),
        "enum": listed(values),
        "const": values,
        "pattern": given(*PATTERNS),
        "format": given("date", "uuid", "date-time", "email", "nonsense"),
        "$ref": one_of(given(*POINTERS), given(*POINTERS), values),
    }


def check(found: Any) -> None:
    constraint = Constraint(json.dumps(found))
    try:
        check_bounds(constraint)
        for vocab_size in (2_000, 150_000):
            config = structured_config(constraint, after_thinking=False, vocab_size=vocab_size)
            assert config["grammar"]
    except InvalidGrammar as refusal:
        if "$" not in str(refusal):
            raise
    except Exception as error:
        error.add_note(constraint.schema[:3000])
        raise


@settings(max_examples=300, deadline=None)
@given_by_hypothesis(st.randoms(use_true_random=False))
def test_any_schema_is_a_grammar_or_a_refusal(random: Random) -> None:
    check({"$defs": {"a": schema(random, 3)}, **as_object(schema(random))})


def test_five_thousand_schemas_are_grammars_or_refusals() -> None:
    random = Random(11435)
    for _ in range(5_000):
        check({"$defs": {"a": schema(random, 3), "b": schema(random, 3)}, **as_object(schema(random))})


def as_object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {"properties": {"a": found}}


# --- What was found so --------------------------------------------------------------------------------------


def chain(length: int, **link: Any) -> dict[str, Any]:
    """Each definition holds the one before, at two places."""
    parts: dict[str, Any] = {"a0": {"enum": ["a", "b"]}}
    for index in range(1, length):
        reference = {"$ref": f"#/$defs/a{index - 1}"}
        parts[f"a{index}"] = link or {"type": "object", "properties": {"left": reference, "right": reference}}
    return {"$defs": parts, "$ref": f"#/$defs/a{length - 1}"}


def test_a_long_chain_of_references_is_a_grammar_as_long_as_it() -> None:
    constraint = Constraint(json.dumps(chain(300)))
    check_bounds(constraint)
    grammar = structured_config(constraint, after_thinking=False)["grammar"]
    assert 300 < grammar.count("::=") < 2_500


def test_alternatives_too_deep_inside_of_each_other_are_refused() -> None:
    parts: dict[str, Any] = {"a0": {"type": "string"}}
    for index in range(1, 300):
        parts[f"a{index}"] = {"title": "x", "anyOf": [{"$ref": f"#/$defs/a{index - 1}"}, {"type": "null"}]}
    constraint = Constraint(json.dumps({"$defs": parts, "$ref": "#/$defs/a299"}))
    check_bounds(constraint)
    with pytest.raises(InvalidGrammar, match="deep"):
        structured_config(constraint, after_thinking=False)


@pytest.mark.parametrize("pointer", [[], {}, 1, None, True])
def test_a_reference_that_is_no_text_is_refused(pointer: Any) -> None:
    with pytest.raises(InvalidGrammar, match="not a string"):
        check_bounds(Constraint(json.dumps({"$ref": pointer})))


def test_a_long_chain_of_alternatives_is_walked_once() -> None:
    """Each of 1,500 places leads to all before it: to look at them again from each would take a million steps."""
    parts: dict[str, Any] = {"a0": {"type": "string"}}
    for index in range(1, 1_500):
        parts[f"a{index}"] = {"anyOf": [{"$ref": f"#/$defs/a{index - 1}"}]}
    looked_at = [0]

    def count(frame: Any, event: str, argument: Any) -> None:
        looked_at[0] += event == "call" and frame.f_code is resolve.__code__

    sys.setprofile(count)
    try:
        check_bounds(Constraint(json.dumps({"$defs": parts}, separators=(",", ":"))))
    finally:
        sys.setprofile(None)
    assert looked_at[0] < 3_000
