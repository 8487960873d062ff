"""Every family's calls as events: the same however the text is cut, no tag in the text, and nothing lost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from family_answers import ANALYSIS, ANSWERS, FINAL, NOW, text, thought
from hypothesis import given, settings
from hypothesis import strategies as st
from parsed_events import Seen, seen

from inference.events import Event
from inference.output_parser import OutputParser
from inference.tools.families import FAMILIES, family_of
from inference.types import Tool

TOOLS = (Tool(name="weather"),)


def parser(family: str, **options: Any) -> OutputParser:
    fields: dict[str, Any] = {"thinking": False, "starts_in_thinking": False, "tools": TOOLS, "stop": ()}
    return OutputParser(**(fields | options), family=FAMILIES[family])


def parsed(family: str, pieces: list[str], **options: Any) -> Seen:
    """One push a piece, as tokens come."""
    reader = parser(family, **options)
    events: list[Event] = []
    for piece in pieces:
        events += reader.push([piece])
    return seen(events + reader.finish())


def _cut(said: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(said), *(place % (len(said) + 1) for place in places)})
    return [said[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(("family", "said", "expected"), ANSWERS)
def test_an_answer_becomes_these_events_letter_by_letter_and_whole(
    family: str, said: str, expected: Seen
) -> None:
    assert parsed(family, [said]) == expected
    assert parsed(family, list(said)) == expected


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 10_000), max_size=8), st.booleans())
def test_any_split_of_an_answer_gives_the_same_events(
    answer: tuple[str, str, Seen], places: list[int], one_push: bool
) -> None:
    family, said, expected = answer
    pieces = _cut(said, places)
    if one_push:
        reader = parser(family)
        assert seen(reader.push(pieces) + reader.finish()) == expected
    else:
        assert parsed(family, pieces) == expected


PARTS = sorted(
    {
        *(tag for family in FAMILIES.values() for tag in (*family.tags, *family.opens)),
        *(
            '{"name": "f", "arguments": {}}',
            '{"name":"f","parameters":{"a":1}}',
            "{",
            "}",
            "[",
            "]",
            "(",
            ")",
        ),
        *(
            "f(a=1)",
            "weather",
            ",",
            ";",
            " ",
            "\n",
            '"',
            "\\",
            "json",
            "to=functions.f",
            "a",
            "END",
            "<",
            "ü",
        ),
        *("<think>", "</think>", "```", "analysis", "functools"),
    }
)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.lists(st.sampled_from(PARTS), max_size=14).map("".join),
    st.lists(st.integers(0, 10_000), max_size=8),
    st.booleans(),
    st.sampled_from([(), ("END",), ("a stop string that is longer than every tag",), ("a", "]")]),
)
def test_any_text_gives_the_same_events_however_it_is_cut(
    family: str, said: str, places: list[int], thinking: bool, stop: tuple[str, ...]
) -> None:
    options = {"thinking": thinking, "stop": stop}
    expected = parsed(family, [said], **options)
    assert parsed(family, _cut(said, places), **options) == expected
    assert parsed(family, list(said), **options) == expected
    if not thinking:
        shown = "".join(str(event[1]) for event in expected if event[0] == "text")
        assert not [tag for tag in FAMILIES[family].control if tag in shown]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(set(FAMILIES) - {"channels"})),
    st.lists(st.sampled_from(PARTS), max_size=10).map("".join),
)
def test_an_answer_without_a_call_is_shown_whole(family: str, said: str) -> None:
    found = parsed(family, [said])
    if all(event[0] == "text" for event in found):
        shown = "".join(str(event[1]) for event in found)
        assert _bare(family, shown) == _bare(family, said), "but for tags and white space"


def _bare(family: str, said: str) -> str:
    tags = {tag.rstrip("[") for tag in (*FAMILIES[family].tags, *FAMILIES[family].opens)} - {""}
    while found := next((tag for tag in tags if tag in said), ""):
        said = said.replace(found, "")
    return "".join(said.split())


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_call_is_there_with_its_last_character(family: str) -> None:
    said = {
        "hermes": '<tool_call>{"name": "now"}',
        "qwen3-coder": "<tool_call>\n<function=now>\n</function>",
        "llama": '{"name": "now", "parameters": {}}',
        "mistral": '[TOOL_CALLS][{"name": "now"}',
        "deepseek": "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
        "phi": '<|tool_call|>[{"name": "now"}',
        "granite": '<|tool_call|>[{"name": "now"}',
        "channels": "<|channel|>commentary to=functions.now<|message|>{}<|call|>",
    }[family]
    reader = parser(family)
    assert reader.push(list(said[:-1])) == []
    assert seen(reader.push([said[-1]])) == [NOW]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_answer_ends_with_the_first_call_where_one_is_asked_for(family: str) -> None:
    said = next(said for name, said, expected in [*ANSWERS, HERMES] if name == family and len(expected) > 1
                and [event[0] for event in expected].count("call") > 1)  # fmt: skip
    found = parsed(family, [said], one_call=True)
    assert [event[0] for event in found].count("call") == 1
    assert found[-1][0] == "call"


HERMES: tuple[str, str, Seen] = (
    "hermes",
    '<tool_call>{"name": "now"}</tool_call><tool_call>{"name": "now"}</tool_call>',
    [NOW, NOW],
)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"channels"}))
def test_without_tools_there_are_no_calls(family: str) -> None:
    for name, said, _ in ANSWERS:
        if name == family and said:
            assert parsed(family, [said], tools=()) == [text(said)]


def test_channels_are_read_without_tools_too() -> None:
    assert parsed("channels", [f"{ANALYSIS}{FINAL}yes"], tools=()) == [thought("hm"), text("yes")]
    assert parsed("channels", [f"{ANALYSIS}{FINAL}yes"], show_thoughts=False) == [text("yes")]


def test_a_long_stop_string_and_a_tag_that_comes_twice_do_not_hold_up_the_server() -> None:
    said = '<tool_call><tool_call>{"name": "now"}</tool_call>'
    assert parsed("hermes", [said], stop=("a stop string that is longer than the tag",)) == [NOW]


@pytest.mark.parametrize(
    ("template", "family"),
    [
        ("", "hermes"),
        ("<|im_start|> … <tool_call>\n…\n</tool_call>", "hermes"),
        ("<|im_start|> … <tool_call>\n<function=f>\n<parameter=a>\n…\n</tool_call>", "qwen3-coder"),
        ("<|start_header_id|>assistant<|end_header_id|>", "llama"),
        ("<|header_start|>assistant<|header_end|>", "llama"),
        ("[INST] … [/INST] … [TOOL_CALLS]", "mistral"),
        ("<｜Assistant｜> … <｜tool▁calls▁begin｜>", "deepseek"),
        ("<|assistant|> … <|tool|>", "phi"),
        ("<|start_of_role|>assistant<|end_of_role|><|tool_call|>", "granite"),
        ("<|start_of_role|>assistant<|end_of_role|><tool_call></tool_call>", "hermes"),
        ("<|start|>assistant<|channel|>final<|message|>", "channels"),
    ],
)
def test_the_words_of_a_template_tell_the_family(template: str, family: str) -> None:
    assert family_of(template).name == family
