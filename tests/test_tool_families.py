"""Every family's calls as events: the same however the text is cut, no tag in the text, and nothing lost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsed_events import Seen, seen

from inference.events import Event
from inference.output_parser import OutputParser
from inference.tools.families import FAMILIES, family_of
from inference.types import Tool

TOOLS = (Tool(name="weather"),)
ZURICH = ("call", "weather", {"city": "Zürich"})
OSLO = ("call", "weather", {"city": "Oslo"})
NOW: tuple[object, ...] = ("call", "now", {})
LISTED = '[{"name": "weather", "arguments": {"city": "Zürich"}}, {"name": "now", "arguments": {}}]'
LLAMA = '{"name": "weather", "parameters": {"city": "Zürich"}}'
V3 = '<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{"city": "Zürich"}\n```<｜tool▁call▁end｜>'
V31 = '<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Zürich"}<｜tool▁call▁end｜>'
ALL, ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
BIG = str(10**30)
IN_STRING = '{"name": "f", "arguments": {"a": "</tool_call><tool_call>\\" }"}}'
QUOTED: tuple[object, ...] = ("call", "f", {"a": '</tool_call><tool_call>" }'})
ANALYSIS = "<|channel|>analysis<|message|>hm<|end|>"
HEADER = "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"


def text(said: str) -> tuple[str, str]:
    return ("text", said)


def thought(said: str) -> tuple[str, str]:
    return ("thought", said)


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


ANSWERS: list[tuple[str, str, Seen]] = [
    # Llama: at the beginning, or behind its tag
    ("llama", LLAMA, [ZURICH]),
    ("llama", f"\n {LLAMA} ", [ZURICH]),
    ("llama", f"<|python_tag|>{LLAMA}", [ZURICH]),
    ("llama", f"Let me see.<|python_tag|>{LLAMA}", [text("Let me see."), ZURICH]),
    ("llama", f"{LLAMA}; {LLAMA};{LLAMA}", [ZURICH, ZURICH, ZURICH]),
    ("llama", f"{LLAMA}\n{LLAMA}", [ZURICH, ZURICH]),
    ("llama", f"{LLAMA}; so it is", [ZURICH, text("; so it is")]),
    ("llama", '{"type": "function", "name": "now", "parameters": {}}', [NOW]),
    ("llama", '{"city": "Bern", "a": [', [text('{"city": "Bern", "a": [')]),
    ("llama", '{"name": "Bob", "age": 3} ok', [text('{"name": "Bob", "age": 3} ok')]),
    ("llama", '{"name": "weather", "param', [text('{"name": "weather", "param')]),
    ("llama", f"It is {LLAMA}", [text(f"It is {LLAMA}")]),
    ("llama", '[weather(city="Zürich"), now()]', [ZURICH, NOW]),
    ("llama", "[weather(city='Zürich')] done", [ZURICH, text("done")]),
    ("llama", '[weather(city="a\\"]") ]', [("call", "weather", {"city": 'a"]'})]),
    (
        "llama",
        "[f(a=1, b=[1.5, -2e3], c={'k': None, \"t\": True}, d=(false,), e='\\u00e9\\n\\d')]",
        [
            (
                "call",
                "f",
                {"a": 1, "b": [1.5, -2000.0], "c": {"k": None, "t": True}, "d": [False], "e": "é\n\\d"},
            )
        ],
    ),
    ("llama", f"[{LLAMA}, {LLAMA}]", [ZURICH, ZURICH]),
    ("llama", '[{"name": "Bob", "age": 3}]', [text('[{"name": "Bob", "age": 3}]')]),
    ("llama", "[weather(city)] no", [text("[weather(city)] no")]),
    ("llama", "[see](http://a.b) it", [text("[see](http://a.b) it")]),
    ("llama", "[1, 2]", [text("[1, 2]")]),
    ("llama", '[weather(city="Zü', [text('[weather(city="Zü')]),
    ("llama", "<|python_tag|>print(1)", [text("print(1)")]),
    ("llama", "[f(a='\\ud83d\\ude00\\ud83d')]", [("call", "f", {"a": "😀\ufffd"})]),
    ("llama", f"[f(a={10**30})]", [text(f"[f(a={10**30})]")]),
    ("llama", LLAMA.replace('"Zürich"', BIG), [text(LLAMA.replace('"Zürich"', BIG))]),
    ("mistral", f'[TOOL_CALLS]f{{"a":{"[" * 300}{"]" * 300}}}', [text(f'f{{"a":{"[" * 300}{"]" * 300}}}')]),
    ("llama", "", []),
    ("llama", f"<|python_start|>{LLAMA}<|python_end|>", [ZURICH]),
    ("llama", '\n<|python_start|>[weather(city="Zürich"), now()]<|python_end|>', [ZURICH, NOW]),
    ("llama", "So: <|python_start|>print(1)<|python_end|>", [text("So: print(1)")]),
    ("llama", "<|python_start|>[see](it)<|python_end|>.", [text("[see](it).")]),
    ("llama", '<|python_start|>{"name": "f<|python_end|>', [text('{"name": "f')]),
    ("llama", "[now()]<|python_end|>\n\nok", [NOW, text("ok")]),
    # Mistral
    ("mistral", f"[TOOL_CALLS]{LISTED}", [ZURICH, NOW]),
    ("mistral", f"Sure. [TOOL_CALLS] {LISTED}", [text("Sure. "), ZURICH, NOW]),
    ("mistral", '[TOOL_CALLS]weather[ARGS]{"city": "Zürich"}', [ZURICH]),
    (
        "mistral",
        '[TOOL_CALLS]weather[CALL_ID]a1b2c3d4e[ARGS]{"city": "Zürich"}[TOOL_CALLS]now{}',
        [ZURICH, NOW],
    ),
    ("mistral", "[TOOL_CALLS]weather[ARGS]{city: 1} and", [text("weather{city: 1} and")]),
    ("mistral", '[TOOL_CALLS]weather[ARGS]{"ci', [text('weather{"ci')]),
    ("mistral", '[TOOL_CALLS][{"name": "weather", "arg', [text('[{"name": "weather", "arg')]),
    ("mistral", "[TOOL_CALLS][1, 2] x", [text("[1, 2] x")]),
    ("mistral", "[TOOL_CALLS] I would not {", [text(" I would not {")]),
    ("mistral", "a [TOOL box", [text("a [TOOL box")]),
    # DeepSeek
    ("deepseek", f"{ALL}{V3}{ALL_END}", [ZURICH]),
    ("deepseek", f"One moment.{ALL}{V3}\n{V3}{ALL_END}", [text("One moment."), ZURICH, ZURICH]),
    ("deepseek", f"{ALL}{V31}{V31}{ALL_END}", [ZURICH, ZURICH]),
    ("deepseek", V31.removesuffix("<｜tool▁call▁end｜>"), [ZURICH]),
    ("deepseek", f"{ALL}{V31.partition('Zürich')[0]}", [text('weather {"city": "')]),
    ("deepseek", V31.replace('"city"', "city"), [text('weather {city: "Zürich"}')]),
    # Phi and Granite
    ("phi", f"<|tool_call|>{LISTED}<|/tool_call|>", [ZURICH, NOW]),
    ("phi", f"Yes. functools{LISTED} bye", [text("Yes. "), ZURICH, NOW, text("bye")]),
    ("phi", "the functools[cache] of Python", [text("the functools[cache] of Python")]),
    ("phi", '<|tool_call|>[{"name": 1}]<|/tool_call|>!', [text('[{"name": 1}]!')]),
    ("granite", f"<|tool_call|>{LISTED}", [ZURICH, NOW]),
    ("granite", f"<tool_call>{LISTED}", [ZURICH, NOW]),
    ("granite", '<tool_call>{"name": "now"}</tool_call>\nok', [NOW, text("ok")]),
    ("granite", '<|tool_call|>[{"name": "now"}, {"name"', [NOW, text(', {"name"')]),
    ("granite", "<tool_call> is a tag", [text(" is a tag")]),
    ("granite", "no</tool_call>", [text("no")]),
    ("granite", '<tool_call>[{"name": "wea', [text('[{"name": "wea')]),
    ("phi", 'functools[{"name": "wea', [text('[{"name": "wea')]),
    ("phi", "functools[0] is a list", [text("functools[0] is a list")]),
    ("hermes", '<tool_call>\n{"name": "wea', [text('{"name": "wea')]),
    # Hermes: the tags are never shown, what stands between them is a call or text
    ("hermes", f"<tool_call>{IN_STRING}</tool_call>", [QUOTED]),
    ("hermes", f"<tool_call>\n{IN_STRING}", [QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}\n{IN_STRING}</tool_call>", [QUOTED, QUOTED]),
    ("hermes", f"<tool_call>\n{LISTED}\n</tool_call>\nok", [ZURICH, NOW, text("ok")]),
    ("hermes", f"<tool_call>{IN_STRING},\n{IN_STRING}\n</tool_call>", [QUOTED, QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}, so</tool_call>", [QUOTED, text(", so")]),
    ("hermes", f"<tool_call>{IN_STRING} so</tool_call>.", [QUOTED, text("so.")]),
    ("hermes", f"<tool_call>{IN_STRING}<tool_call>{IN_STRING}", [QUOTED, QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}</tool_call></tool_call>\n</tool_call>\n\nok", [QUOTED, text("ok")]),
    ("hermes", f"<tool_call>{IN_STRING}\n</tool_", [QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}</tool_call>\n<b>", [QUOTED, text("<b>")]),
    ("hermes", "<tool_call>get(x)</tool_call>", [text("get(x)")]),
    ("hermes", "a <tool_call>\n</tool_call>b </tool_call>c", [text("a b c")]),
    ("hermes", "</tool_call>", []),
    ("hermes", "<tool_call>\n{no JSON}\n</tool_call> ok", [text("{no JSON}\n ok")]),
    ("hermes", "<tool_call> is a tag", [text(" is a tag")]),
    ("hermes", "<tool_call>[]</tool_call>", [text("[]")]),
    ("hermes", '<tool_call>[1, {"name": "f"}]</tool_call>', [text('[1, {"name": "f"}]')]),
    ("hermes", '<tool_call>{"a": "</tool_call>"}</tool_call>.', [text('{"a": ""}.')]),
    ("hermes", "<tool_call>{'name': 'now'}</tool_call>", [text("{'name': 'now'}")]),
    # a string that nothing closed: the call behind it counts all the same
    ("hermes", f'<tool_call>{{"name": "f</tool_call><tool_call>{IN_STRING}', [text('{"name": "f'), QUOTED]),
    ("hermes", f'<tool_call>{{"a": "f</tool_call>\n<tool_call>{IN_STRING}', [text('{"a": "f\n'), QUOTED]),
    ("hermes", f'<tool_call>{{"name": <tool_call>{IN_STRING}', [text('{"name": '), QUOTED]),
    ("qwen3-coder", "<tool_call>\n<function=now>\n</function>\n</tool_call><function=now></function>", [NOW, NOW]),
    # channels
    ("channels", f"{ANALYSIS}{FINAL}yes<|return|>", [thought("hm"), text("yes")]),
    ("channels", f'{ANALYSIS}{HEADER}{{"city": "Zürich"}}<|call|>', [thought("hm"), ZURICH]),
    ("channels", f'{ANALYSIS}{HEADER}{{"city": "Zürich"}}', [thought("hm"), ZURICH]),
    (
        "channels",
        f'<|channel|>commentary<|message|>I look.<|end|>{HEADER}{{"city": "Zürich"}}<|call|>{HEADER}{{"city": "Oslo"}}',
        [text("I look."), ZURICH, OSLO],
    ),
    ("channels", ' to=functions.now<|channel|>commentary json<|message|>{}<|call|>', [NOW]),
    ("channels", f"{ANALYSIS}{HEADER}not JSON<|call|>{FINAL}x", [thought("hm"), text("not JSONx")]),
    ("channels", "plain <b>text</b>", [text("plain <b>text</b>")]),
    ("channels", "<|channel|>analysis<|message|>cut o", [thought("cut o")]),
    ("channels", f"{ANALYSIS}<|start|>assistant<|chan", [thought("hm")]),
]  # fmt: skip


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
