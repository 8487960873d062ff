"""Calls whose arguments are text between tags: typed by the tool's schema, whatever the values hold."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from chat_templates import USER, rendered
from hypothesis import given, settings
from hypothesis import strategies as st
from parsed_events import Seen, seen

from inference.events import Event
from inference.output_parser import OutputParser
from inference.tools.qwen_coder import QWEN_CODER, TAGS
from inference.types import Message, Tool, ToolCall

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "on": {"type": "boolean"},
        "list": {"type": "array"},
        "map": {"$ref": "#/$defs/map"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "either": {"type": ["string", "array"]},
        "unit": {"enum": ["1", "2"]},
        "level": {"enum": [1, 2]},
        "joined": {"allOf": [{"title": "t"}, {"type": "string"}]},
        "lost": {"$ref": "#/$defs/nowhere"},
        "any": {},
    },
    "$defs": {"map": {"type": "object"}},
}
TOOLS = (Tool(name="f", parameters=SCHEMA),)


def text(said: str) -> tuple[str, str]:
    return ("text", said)


def call(**values: Any) -> tuple[object, ...]:
    return ("call", "f", values)


def written(end: str = "\n</tool_call>", **values: str) -> str:
    pairs = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function=f>\n{pairs}</function>{end}"


def parsed(pieces: list[str], **options: Any) -> Seen:
    fields: dict[str, Any] = {"thinking": False, "starts_in_thinking": False, "tools": TOOLS, "stop": ()}
    reader = OutputParser(**(fields | options), family=QWEN_CODER)
    events: list[Event] = []
    for piece in pieces:
        events += reader.push([piece])
    return seen(events + reader.finish())


VALUES: list[tuple[str, str, Any]] = [
    ("text", "Zürich", "Zürich"),
    ("text", "12", "12"),
    ("text", "null", "null"),
    ("text", '{"a": 1}', '{"a": 1}'),
    ("text", "  two\n\n lines\n", "  two\n\n lines\n"),
    ("text", "", ""),
    ("count", "12", 12),
    ("count", " 12 ", 12),
    ("count", "a dozen", "a dozen"),
    ("share", "0.5", 0.5),
    ("share", "2", 2),
    ("on", "true", True),
    ("on", "False", False),
    ("list", '["a", 1]', ["a", 1]),
    ("list", "a, b", "a, b"),
    ("map", '{"a": {"b": null}}', {"a": {"b": None}}),
    ("maybe", "null", None),
    ("maybe", "None", None),
    ("maybe", "12", "12"),
    ("maybe", '"quoted"', '"quoted"'),
    ("either", "[1]", [1]),
    ("either", "1", "1"),
    ("unit", "1", "1"),
    ("level", "1", 1),
    ("joined", "1", "1"),
    ("lost", "1", 1),
    ("any", "word", "word"),
    ("any", "[1]", [1]),
    ("unknown", "true", True),
]


@pytest.mark.parametrize(("key", "said", "value"), VALUES)
def test_a_value_is_what_the_schema_says(key: str, said: str, value: Any) -> None:
    (found,) = parsed([written(**{key: said})])
    assert found == call(**{key: value})
    assert type(found[2][key]) is type(value)  # type: ignore[index]


@pytest.mark.parametrize(
    "schema", [{}, {"properties": 1}, {"properties": {"a": 1}}, {"properties": {"a": True}}]
)
def test_a_schema_that_says_nothing_leaves_it_to_the_value(schema: dict[str, Any]) -> None:
    tools = (Tool(name="f", parameters=schema),)
    assert parsed([written(a="1", b="x")], tools=tools) == [call(a=1, b="x")]


SPEAKS_OF_TAGS = "a </parameter> and </function> and <parameter=b> and <tool_call>{}</tool_call>"
HALF = "<tool_call>\n<function=f>\n<parameter=text>\nx"
ANSWERS: list[tuple[str, Seen]] = [
    (written(text="x", count="3"), [call(text="x", count=3)]),
    (written(), [call()]),
    (f"So:\n{written(text='x')}\n{written()}\n\nok", [text("So:\n"), call(text="x"), call(), text("ok")]),
    (written(end="", text="x").removeprefix("<tool_call>\n"), [call(text="x")]),
    ("<function=f></function><function=f></function>.", [call(), call(), text(".")]),
    ("<tool_call><function=f></function>\n<function=f></function></tool_call>.", [call(), call(), text(".")]),
    ('<function = "f">', [text('<function = "f">')]),
    ('<function="f"></function>', [call()]),
    ("<function=f><parameter=text>x</parameter></function>", [call(text="x")]),
    (written(text=SPEAKS_OF_TAGS, count="1"), [call(text=SPEAKS_OF_TAGS, count=1)]),
    (written(text="x", end="</function>\n</tool_call>\n</tool_call>\nok"), [call(text="x"), text("ok")]),
    # what is missing at the end
    (f"{HALF}\n</parameter>\n</tool_call>", [call(text="x")]),
    (f"{HALF}\n</function>\n</tool_call>.", [call(text="x"), text(".")]),
    (f"{HALF}\n</function>\n", [call(text="x")]),
    (written(end="\n</tool_c", text="x"), [call(text="x")]),
    (f"{HALF}\n</parameter>\n", [text("f>\ntext>\nx\n\n")]),
    (HALF, [text("f>\ntext>\nx")]),
    ("<tool_call>\n<function=f", [text("f")]),
    # no calls
    ("<tool_call>\n", []),
    ("a </function>b</tool_call>c</parameter>d<parameter=e>", [text("a bcde>")]),
    ("<tool_call><function=>x</function></tool_call>", [text(">x")]),
    ("<function=f\n>x", [text("f\n>x")]),
    ("<function=f> x</function>.", [text("f> x.")]),
    ("<function=f><parameter=>x", [text("f>>x")]),
    (f"<function={'f' * 300}>", [text(f"{'f' * 300}>")]),
    (written(count=str(10**30)), [text(f"f>\ncount>\n{10**30}\n\n\n")]),
    # JSON as Hermes has it
    ('<tool_call>\n{"name": "f", "arguments": {"a": "</function>"}}\n</tool_call>', [call(a="</function>")]),
    ("<tool_call>get(x)</tool_call>", [text("get(x)")]),
]  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), ANSWERS)
def test_an_answer_becomes_these_events_letter_by_letter_and_whole(said: str, expected: Seen) -> None:
    assert parsed([said]) == expected
    assert parsed(list(said)) == expected


def test_a_call_is_there_with_the_tag_that_ends_it() -> None:
    reader = OutputParser(thinking=False, starts_in_thinking=False, tools=TOOLS, stop=(), family=QWEN_CODER)
    said = written(end="", text="x")
    assert reader.push(list(said[:-1])) == []
    assert seen(reader.push([said[-1]])) == [call(text="x")]


PARTS = (
    *TAGS,
    "f>",
    "text>",
    "count>",
    "\n",
    "1",
    " ",
    "<",
    "</",
    "/",
    ">",
    '{"name": "f"}',
    "x",
    "END",
    written(text="y"),
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(PARTS), max_size=16).map("".join),
    st.lists(st.integers(0, 10_000), max_size=8),
    st.sampled_from([(), ("END",), (">",)]),
)
def test_any_text_gives_the_same_events_however_it_is_cut_and_shows_no_tag(
    said: str, places: list[int], stop: tuple[str, ...]
) -> None:
    expected = parsed([said], stop=stop)
    edges = sorted({0, len(said), *(place % (len(said) + 1) for place in places)})
    assert parsed([said[a:b] for a, b in pairwise(edges)], stop=stop) == expected
    assert parsed(list(said), stop=stop) == expected
    shown = "".join(str(event[1]) for event in expected if event[0] == "text")
    assert not [tag for tag in TAGS if tag in shown]


TEMPLATE = """{%- if tools %}{{ tools | tojson }}{% endif %}{%- for message in messages %}{{ message.content }}
{%- for tool_call in message.tool_calls or [] %}{%- set tool_call = tool_call.function or tool_call %}
<tool_call>
<function={{ tool_call.name }}>
{% for key, value in tool_call.arguments | items %}<parameter={{ key }}>
{{ value if value is string else value | tojson }}
</parameter>
{% endfor %}</function>
</tool_call>
{%- endfor %}{%- endfor %}"""


def test_what_a_template_shows_of_an_earlier_call_is_read_as_the_same_call(tmp_path: Path) -> None:
    values = {"text": "1\n2", "count": 3, "list": ["a"], "on": True}
    said = Message(role="assistant", content="", tool_calls=(ToolCall("call_1", "f", values),))
    prompt = rendered(tmp_path, TEMPLATE, (*USER, said), tools=TOOLS)
    assert parsed([prompt.text.partition("hi")[2]]) == [call(**values)]
