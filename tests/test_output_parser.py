"""An answer as text in, events out; the same however the text is cut into pieces."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from parsed_events import Seen, seen

from inference.events import Event, TextDelta
from inference.output_parser import OutputParser
from inference.types import Tool, ToolCall

TOOLS = (Tool(name="weather"),)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call>'
WEATHER = ("call", "weather", {"city": "Zürich"})


def _parser(
    *, thinking: bool = False, open_: bool = False, tools: bool = False, stop: tuple[str, ...] = ()
) -> OutputParser:
    return OutputParser(thinking=thinking, starts_in_thinking=open_, tools=TOOLS if tools else (), stop=stop)


def _cuts(text: str) -> list[list[str]]:
    """The text whole, letter by letter, and cut at random places."""
    numbers = random.Random(len(text))
    cuts = [[text], list(text)]
    for _ in range(20):
        places = sorted(numbers.sample(range(len(text) + 1), min(len(text), 4)))
        cuts.append([text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)])
    return cuts


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "hello <think>x</think>" + CALL, [("text", "hello <think>x</think>" + CALL)]),
        # thoughts
        ({"thinking": True}, "<think>\nhm\n</think>\n\nyes", [("thought", "hm\n"), ("text", "yes")]),
        ({"thinking": True}, "\n <think>hm</think>yes", [("thought", "hm"), ("text", "yes")]),
        ({"thinking": True}, "no <think>x</think>", [("text", "no <think>x</think>")]),
        ({"thinking": True}, " \n no thoughts", [("text", " \n no thoughts")]),
        ({"thinking": True}, "<thin", [("text", "<thin")]),
        ({"thinking": True}, "<think></think>\n\nyes", [("text", "yes")]),
        ({"thinking": True}, "<think>cut off </thi", [("thought", "cut off </thi")]),
        ({"thinking": True}, "<think>a</think>b</think>c", [("thought", "a"), ("text", "b</think>c")]),
        ({"open_": True}, "\nhm</think>\nyes", [("thought", "hm"), ("text", "yes")]),
        ({"open_": True}, "hm", [("thought", "hm")]),
        # tool calls
        ({"tools": True}, CALL, [WEATHER]),
        ({"tools": True}, "Let me look.\n" + CALL, [("text", "Let me look.\n"), WEATHER]),
        ({"tools": True}, CALL + "\n" + CALL, [WEATHER, WEATHER]),
        ({"tools": True}, CALL + "\n\ndone", [WEATHER, ("text", "done")]),
        ({"tools": True}, CALL.removesuffix("\n</tool_call>"), [WEATHER]),
        ({"tools": True}, '<tool_call>{"name": "new"}</tool_call>', [("call", "new", {})]),
        (
            {"tools": True},
            '<tool_call>{"name":"f","arguments":"{\\"a\\":1}"}</tool_call>',
            [("call", "f", {"a": 1})],
        ),
        (
            {"tools": True},
            "<tool_call>{not JSON}</tool_call> ok",
            [("text", "{not JSON} ok")],
        ),
        ({"tools": True}, '<tool_call>["f"]</tool_call>', [("text", '["f"]')]),
        (
            {"tools": True},
            '<tool_call>{"name":""}</tool_call>',
            [("text", '{"name":""}')],
        ),
        (
            {"tools": True},
            '<tool_call>{"name":"f","arguments":[1]}</tool_call>',
            [("text", '{"name":"f","arguments":[1]}')],
        ),
        ({"tools": True}, '<tool_call>{"name": "wea', [("text", '{"name": "wea')]),
        ({"tools": True}, "<tool_call>oh " + CALL, [("text", "oh "), WEATHER]),
        ({"tools": True}, "a <tool_cal l", [("text", "a <tool_cal l")]),
        (
            {"tools": True, "thinking": True},
            "<think>call " + CALL + "</think>\n\n" + CALL,
            [("thought", "call " + CALL), WEATHER],
        ),
    ],
)
def test_an_answer_becomes_these_events_however_it_is_cut(
    options: dict[str, Any], text: str, expected: Seen
) -> None:
    for pieces in _cuts(text):
        parser = _parser(**options)
        events: list[Event] = []
        for piece in pieces:
            events += parser.push([piece])
        assert seen(events + parser.finish()) == expected, pieces
        assert parser.stop_sequence is None


@pytest.mark.parametrize(
    ("stop", "text", "expected", "hit"),
    [
        (("END",), "abcENDdef", "abc", "END"),
        (("END",), "abcEN", "abcEN", None),
        (("END",), "ENENEND", "ENEN", "END"),
        (("END",), "END", "", "END"),
        (("aab",), "aaaab", "aa", "aab"),
        (("b", "abcX"), "-abc", "-a", "b"),
        (("abc", "bc"), "-abc", "-", "abc"),
        (("bc", "abc"), "-abc", "-", "abc"),
        (("zz", "\n\n"), "one\ntwo\n\nthree zz", "one\ntwo", "\n\n"),
        (("", "x"), "abxc", "ab", "x"),
        (("😀",), "a😀b", "a", "😀"),
    ],
)
def test_a_stop_string_ends_the_text_and_never_leaks(
    stop: tuple[str, ...], text: str, expected: str, hit: str | None
) -> None:
    for pieces in _cuts(text):
        parser = _parser(stop=stop)
        shown = ""
        for piece in pieces:
            for event in parser.push([piece]):
                assert isinstance(event, TextDelta)
                shown += event.text
                assert expected.startswith(shown), pieces
        assert seen([TextDelta(shown), *parser.finish()] if shown else parser.finish()) == (
            [("text", expected)] if expected else []
        )
        assert parser.stop_sequence == hit
        if hit is not None:
            assert parser.push(["more"]) == []
            assert parser.finish() == []


@pytest.mark.parametrize(
    ("options", "text", "expected", "hit"),
    [
        (
            {"thinking": True},
            "<think>a END b</think>c END d",
            [("thought", "a END b"), ("text", "c ")],
            "END",
        ),
        ({"tools": True}, '<tool_call>{"name":"END"}</tool_call>END', [("call", "END", {})], "END"),
        ({"tools": True}, "<tool_call>no END</tool_call> x", [("text", "no ")], "END"),
        ({"tools": True}, "<tool_call>EN</tool_call>D", [("text", "END")], None),
        ({"tools": True}, "<tool_call>never closed END", [("text", "never closed ")], "END"),
    ],
)
def test_stop_strings_concern_content_only(
    options: dict[str, Any], text: str, expected: Seen, hit: str | None
) -> None:
    for pieces in _cuts(text):
        parser = _parser(stop=("END",), **options)
        assert seen(parser.push(pieces) + parser.finish()) == expected, pieces
        assert parser.stop_sequence == hit


@pytest.mark.parametrize(
    ("stop", "expected"),
    [("<tool_call>", [("text", "a")]), ("<", [("text", "a")]), ("call>", [("text", "a<tool_")])],
)
def test_a_stop_string_that_ends_no_later_than_the_tag_wins(stop: str, expected: Seen) -> None:
    for pieces in _cuts("a" + CALL):
        parser = _parser(tools=True, stop=(stop,))
        assert seen(parser.push(pieces) + parser.finish()) == expected, pieces
        assert parser.stop_sequence == stop


def test_a_stop_string_may_begin_in_text_that_looked_like_a_call() -> None:
    for pieces in _cuts("<tool_call>{}</tool_call> and more"):
        parser = _parser(tools=True, stop=("} and",))
        assert seen(parser.push(pieces) + parser.finish()) == [("text", "{")], pieces


def test_each_piece_is_a_delta_of_its_own_when_nothing_is_held_back() -> None:
    parser = _parser(thinking=True, tools=True, stop=("END",))
    pieces = ["Hello", ",", " wor", "ld", "\n", "< 3"]
    assert parser.push(pieces) == [TextDelta(piece) for piece in pieces]
    assert parser.finish() == []


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    parser = _parser(stop=("\nUser:",))
    assert parser.push(["line\nUs"]) == [TextDelta("line")]
    assert parser.push(["ual"]) == [TextDelta("\nUsual")]
    assert parser.push(["\nUser"]) == []
    assert parser.finish() == [TextDelta("\nUser")]


def test_every_call_has_an_id_of_its_own() -> None:
    parser = _parser(tools=True)
    calls = [event for event in parser.push([CALL * 20]) if isinstance(event, ToolCall)]
    assert len({call.id for call in calls}) == 20
    assert all(re.fullmatch("call_[a-z0-9]{8}", call.id) for call in calls)


def test_nothing_is_lost_or_invented_in_random_answers() -> None:
    numbers = random.Random(3)
    parts = [
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        '{"name":"f"}',
        "{",
        "<",
        "a",
        " ",
        "\n",
        "EN",
    ]
    for _ in range(2_000):
        text = "".join(numbers.choice(parts) for _ in range(numbers.randrange(12)))
        options: dict[str, Any] = {"thinking": numbers.random() < 0.5, "tools": numbers.random() < 0.7}
        whole = _parser(**options, stop=("END",))
        expected = seen(whole.push([text]) + whole.finish())
        letters = _parser(**options, stop=("END",))
        assert seen(letters.push(list(text)) + letters.finish()) == expected, text
        if whole.stop_sequence is None:
            rest = re.sub(r"\s", "", text)
            for event in expected:
                for letter in re.sub(r"\s", "", str(event[1])):
                    at = rest.find(letter)
                    assert at >= 0, (text, expected)
                    rest = rest[at + 1 :]
