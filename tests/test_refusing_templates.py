"""Templates that refuse a conversation get it in a simpler shape, and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_templates import CHAT, rendered

from inference.errors import BadRequest
from inference.turns import simpler
from inference.types import Message, ToolCall

SYSTEM_FIRST = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}"
    "[{{ m.role }}:{{ m.content }}]{% endfor %}"
)
ALTERNATING = (
    "{% if messages[0].role == 'system' %}<{{ messages[0].content }}>{% set turns = messages[1:] %}"
    "{% else %}{% set turns = messages %}{% endif %}{% set ns = namespace(i=0) %}{% for m in turns %}"
    "{% if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}"
    "{% if (m.role == 'user') != (ns.i % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% set ns.i = ns.i + 1 %}{% endif %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + ALTERNATING
)
CODEX = (
    Message(role="system", content="A"),
    Message(role="system", content="B"),
    Message(role="user", content="C"),
    Message(role="user", content="D"),
    Message(role="assistant", content="E"),
    Message(role="assistant", tool_calls=(ToolCall("c", "f", {}),)),
    Message(role="tool", content="F", tool_call_id="c"),
    Message(role="system", content="G"),
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (SYSTEM_FIRST, "[system:A\n\nB][user:C\n\nD][assistant:E][tool:F][user:G]"),
        (ALTERNATING, "<A\n\nB\n\nG>[user:C\n\nD][assistant:E][tool:F]"),
        (NO_SYSTEM, "[user:A\n\nB\n\nG\n\nC\n\nD][assistant:E][tool:F]"),
    ],
)
def test_a_template_that_refuses_gets_what_it_takes(tmp_path: Path, template: str, expected: str) -> None:
    assert rendered(tmp_path, template, CODEX).text == expected


def test_a_template_that_takes_a_conversation_gets_it_as_it_is(tmp_path: Path) -> None:
    text = rendered(tmp_path, CHAT, CODEX).text
    assert [line.partition("|>")[0] for line in text.splitlines()] == [
        *("<|system", "<|system", "<|user", "<|user", "<|assistant", "<|assistant", "<|tool", "<|system"),
        "<|assistant",
    ]


def test_a_template_that_refuses_every_shape_is_heard(tmp_path: Path) -> None:
    template = "{{ raise_exception('only on Sundays') }}"
    with pytest.raises(BadRequest, match="only on Sundays"):
        rendered(tmp_path, template, CODEX)


def test_nothing_is_lost_and_a_plain_conversation_has_no_other_shape() -> None:
    for turns in simpler(CODEX):
        said = "".join(message.content.replace("\n\n", "") for message in turns)
        assert sorted(said) == list("ABCDEFG")
        assert [call for message in turns for call in message.tool_calls] == [ToolCall("c", "f", {})]
    plain = (Message(role="user", content="C"), Message(role="assistant", content="E"))
    assert list(simpler(plain)) == []


def test_results_of_two_calls_stay_two_messages() -> None:
    results = tuple(Message(role="tool", content=text, tool_call_id=text) for text in "ab")
    (turns,) = simpler((Message(role="user", content="x"), Message(role="user", content="y"), *results))
    assert turns[1:] == results
