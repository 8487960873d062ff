"""Grammars as the runtime compiles them, on the vocabulary of `demo`, with a pipeline that draws tokens at random.

What such a pipeline writes is any text that the grammar allows: so a fault of a grammar shows in some of the answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from tokenizers import Tokenizer

import inference
from inference.grammar import check_bounds, structured_config
from inference.types import Constraint
from inference.worker import grammar_check
from inference.worker.grammar_check import GrammarChecker, constant_pipeline
from inference.worker.grammar_config import structured_output_config

DEMO = Path(inference.__file__).parent / "builtin" / "demo"
TOKENIZER = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
END = 2
SEEDS = range(1, 9)


class Drawer:
    """Draws answers from a grammar; `favoured` are pieces of text whose tokens come more often."""

    def __init__(self, favoured: Callable[[str], float]) -> None:
        texts = [
            TOKENIZER.decode([id], skip_special_tokens=False) for id in range(TOKENIZER.get_vocab_size())
        ]
        logits = np.array([favoured(text) for text in texts], np.float32)
        logits[END] += 6
        self._pipeline = constant_pipeline(genai.Tokenizer(DEMO), logits)

    def answer(self, config: dict[str, Any], seed: int, tokens: int = 600) -> str:
        generation = genai.GenerationConfig()
        generation.max_new_tokens = tokens
        generation.apply_chat_template = False
        generation.do_sample = True
        generation.rng_seed = seed
        generation.eos_token_id = END
        generation.structured_output_config = structured_output_config(config)
        ids = list(self._pipeline.generate(ov.Tensor(np.zeros((1, 1), np.int64)), generation).tokens[0])
        assert ids[-1] == END, f"no end after {len(ids)} tokens: {TOKENIZER.decode(ids)[-80:]!r}"
        text: str = TOKENIZER.decode(ids[:-1], skip_special_tokens=False)
        return text


def _favour_ends(text: str) -> float:
    """Closing brackets come often and opening ones seldom, so that random answers end."""
    if text.startswith("<") and text.endswith(">") and len(text) > 1:
        return 0.0 if text == "</think>" else -9.0
    if "{" in text or "[" in text:
        return -1.0
    return 4.0 * any(letter in text for letter in '"}],') + (len(text) == 1)


@pytest.fixture(scope="module")
def drawer() -> Drawer:
    return Drawer(_favour_ends)


def _config(schema: object, **options: Any) -> dict[str, Any]:
    constraint = Constraint(json.dumps(schema) if schema != "" else "")
    check_bounds(constraint)
    return structured_config(
        constraint, vocab_size=TOKENIZER.get_vocab_size(), **{"after_thinking": False, **options}
    )


NODE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v", "next"],
}
SCHEMAS: dict[str, tuple[object, Callable[[Any], bool]]] = {
    "any object": ("", lambda value: isinstance(value, dict)),
    "any value": ({}, lambda value: True),
    "integer": ({"type": "integer"}, lambda value: type(value) is int),
    "number": ({"type": "number"}, lambda value: isinstance(value, (int, float))),
    "boolean": ({"type": "boolean"}, lambda value: isinstance(value, bool)),
    "bounded": ({"type": "integer", "minimum": -5, "maximum": 120}, lambda value: -5 <= value <= 120),
    "short text": ({"type": "string", "minLength": 2, "maxLength": 5}, lambda value: 2 <= len(value) <= 5),
    "pattern": (
        {"type": "string", "pattern": '^[A-Zé]{2}-\\d+ ?"[^a]\\\\$'},
        lambda value: re.fullmatch('[A-Zé]{2}-[0-9]+ ?"[^a]\\\\', value) is not None,
    ),
    "nested counts": (
        {"type": "string", "pattern": "^((ab){1,2}c{2}){2,3}$"},
        lambda value: re.fullmatch("((ab){1,2}c{2}){2,3}", value) is not None,
    ),
    "beginning": (
        {"type": "string", "pattern": "^https?://"},
        lambda value: re.match("https?://", value) is not None,
    ),
    "uuid": (
        {"type": "string", "format": "uuid"},
        lambda value: re.fullmatch("[0-9a-f-]{36}", value) is not None,
    ),
    "date": (
        {"type": "string", "format": "date-time"},
        lambda value: (
            re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|[+-]\d\d:\d\d)", value) is not None
        ),
    ),
    "constants": (
        {"enum": ["a", 1, None, {"x": [1, 'é"\n']}]},
        lambda value: value in ["a", 1, None, {"x": [1, 'é"\n']}],
    ),
    "alternatives": ({"type": ["integer", "null"]}, lambda value: value is None or type(value) is int),
    "required": (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, 'b"é': {"type": "string"}, "c": {"type": "boolean"}},
            "required": ['b"é'],
        },
        lambda value: 'b"é' in value and list(value) == [name for name in ("a", 'b"é', "c") if name in value],
    ),
    "optional": (
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}},
        lambda value: set(value) <= {"a", "b"},
    ),
    "unnamed": (
        {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "minProperties": 2,
            "maxProperties": 3,
        },
        lambda value: all(type(item) is int for item in value.values()),
    ),
    "named and more": (
        {"type": "object", "properties": {"a": {"const": 7}}, "additionalProperties": {"type": "null"}},
        lambda value: all(item == 7 if name == "a" else item is None for name, item in value.items()),
    ),
    "required only": ({"required": ["k"]}, lambda value: "k" in value),
    "nothing in it": ({"type": "object", "additionalProperties": False}, lambda value: value == {}),
    "array": (
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
        lambda value: 2 <= len(value) <= 4 and all(isinstance(item, bool) for item in value),
    ),
    "empty array": ({"type": "array", "maxItems": 0}, lambda value: value == []),
    "tuple": (
        {"prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": {"type": "null"}, "maxItems": 4},
        lambda value: type(value[0]) is int and isinstance(value[1], bool) and set(value[2:]) <= {None},
    ),
    "all of": (
        {
            "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}],
            "$defs": {"a": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}},
        },
        lambda value: list(value) == ["a", "b"],
    ),
    "any of, with what all have": (
        {
            "type": "object",
            "properties": {"k": {"type": "integer"}},
            "required": ["k"],
            "anyOf": [{"properties": {"x": {"const": 1}}, "required": ["x"]}, {"required": ["y"]}],
        },
        lambda value: "k" in value and ("x" in value or "y" in value),
    ),
    "recursive": (
        {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
        lambda value: list(value) == ["v", "next"],
    ),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_answers_are_in_the_schema(drawer: Drawer, name: str) -> None:
    schema, holds = SCHEMAS[name]
    config = _config(schema)
    for seed in SEEDS:
        answer = drawer.answer(config, seed)
        assert holds(json.loads(answer)), answer


@pytest.fixture(scope="module")
def lover_of_white_space() -> Drawer:
    return Drawer(lambda text: 12.0 if text.isspace() else _favour_ends(text))


@pytest.mark.parametrize("name", ["optional", "array", "tuple", "recursive"])
def test_a_model_that_loves_white_space_comes_to_an_end(lover_of_white_space: Drawer, name: str) -> None:
    for seed in SEEDS:
        answer = lover_of_white_space.answer(_config(SCHEMAS[name][0]), seed)
        assert not re.search(r"\s\s|\n|[{\[\"]\s|\s[}\]:,]", answer), answer


SOME = [
    "",
    {"type": "object", "properties": {"a": {"type": "integer"}}},
    {"type": "number", "minimum": 0.1, "maximum": 0.9},
]


@pytest.mark.parametrize("schema", SOME)
def test_thoughts_are_free_and_the_answer_behind_them_is_not(schema: object) -> None:
    drawer = Drawer(lambda text: {"</think>": 5.0, "<think>": 9.0}.get(text, _favour_ends(text)))
    for seed in SEEDS:
        text = drawer.answer(_config(schema, after_thinking=True), seed)
        assert text.startswith("<think>")
        for answer in (text, drawer.answer(_config(schema, after_thinking=True, thinking_open=True), seed)):
            thoughts, closed, rest = answer.partition("</think>")
            assert closed
            assert not rest.startswith("\n\n\n")
            json.loads(rest)
            with pytest.raises(ValueError, match="char"):
                json.loads(thoughts.removeprefix("<think>"))


@pytest.mark.parametrize("schema", SOME)
def test_a_model_that_may_think_may_also_answer_at_once(schema: object) -> None:
    drawer = Drawer(lambda text: -30.0 if "<" in text else _favour_ends(text))
    for seed in SEEDS:
        json.loads(drawer.answer(_config(schema, after_thinking=True), seed))


@pytest.fixture(scope="module")
def checker() -> GrammarChecker:
    return GrammarChecker(str(DEMO), TOKENIZER.get_vocab_size())


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_can_be_served_passes_the_check(checker: GrammarChecker, name: str) -> None:
    assert checker.check(_config(SCHEMAS[name][0])) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"grammar": "root ::= nowhere"}, 'Rule "nowhere" is not defined'),
        ({"grammar": "no grammar at all"}, "EBNF"),
    ],
)
@pytest.mark.parametrize("thinking", ["", "optional", "open"])
def test_a_bad_grammar_is_refused_in_words_and_the_next_one_passes(
    checker: GrammarChecker, config: dict[str, str], reason: str, thinking: str
) -> None:
    refusal = checker.check({**config, "thinking": thinking, "open": "<think>", "close": "</think>"})
    assert refusal is not None
    assert reason in refusal
    assert "/" not in refusal, "a path of the machine that built the runtime"
    assert checker.check(_config("")) is None


@pytest.mark.parametrize("vocab_size", [1, 200_000])
def test_the_checker_has_a_logit_for_each_token_whatever_it_is_told(vocab_size: int) -> None:
    checker = GrammarChecker(str(DEMO), vocab_size)
    assert [checker.check(_config(schema)) for schema, _ in SCHEMAS.values()] == [None] * len(SCHEMAS)


def test_a_grammar_whose_steps_are_slow_is_refused(
    checker: GrammarChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar_check, "SLOWEST_STEP_S", 0.0)
    assert checker.check(_config("")) == "it is too slow to follow"


@pytest.mark.parametrize(
    ("pattern", "verdict"),
    [
        ("([a-t]{1,31}){1,32}", "it is too slow to follow"),  # read in more ways with each character
        (r"([a-z]{1,63}\.){1,10}[a-z]+", None),
        ("^([a-z]+-){1,5}[a-z]+$", None),
    ],
)
def test_a_string_that_can_be_read_in_ever_more_ways_is_refused(
    checker: GrammarChecker, pattern: str, verdict: str | None
) -> None:
    assert checker.check(_config({"type": "string", "pattern": pattern})) == verdict
