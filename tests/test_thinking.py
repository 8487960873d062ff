"""Thoughts: between which tags, how much of them, and none where they are off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from chat_templates import USER, template_spec
from engines import DEMO, ask, events_of, run, running_engine, text_of
from family_answers import text, thought
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from parsed_events import seen
from test_tool_families import parsed

from compat_api.anthropic.requests import parse_messages
from compat_api.ollama import requests as ollama
from compat_api.openai.requests import parse_chat
from inference.chat_template import ChatTemplate
from inference.events import Event, ReasoningDelta
from inference.output_parser import OutputParser
from inference.thinking import think_tags
from inference.types import ChatRequest, Message, ToolCall

GPT_OSS = "<|channel|>{{ reasoning_effort | default('medium') }}"

ANSWERS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("<think>", "<think>hm</think>\n\nyes", [thought("hm"), text("yes")]),
    ("[THINK] [/THINK]", "[THINK]hm[/THINK]yes", [thought("hm"), text("yes")]),
    ("<seed:think>", "<seed:think>hm</seed:think>yes", [thought("hm"), text("yes")]),
    (
        "<|START_THINKING|>",
        "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>yes<|END_RESPONSE|>",
        [thought("hm"), text("yes")],
    ),
    ("<think> <response>", "<think>hm</think><response>yes</response>", [thought("hm"), text("yes")]),
    (
        "Here is my thought process:",
        "Here is my thought process: hm Here is my response: yes",
        [thought("hm "), text("yes")],
    ),
    ("<think>", "Here is my thought process: none", [text("Here is my thought process: none")]),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 200), max_size=6))
def test_the_template_tells_the_tags_however_the_answer_is_cut(
    answer: tuple[str, str, list[tuple[str, str]]], places: list[int]
) -> None:
    template, said, expected = answer
    tags = think_tags(template)
    assert tags is not None
    for pieces in ([said], list(said), [said[: places[0]], said[places[0] :]] if places else [said]):
        parser = OutputParser(thinking=True, starts_in_thinking=False, tools=(), stop=(), tags=tags)
        events: list[Event] = []
        for piece in pieces:
            events += parser.push([piece])
        assert seen(events + parser.finish()) == expected


def test_thoughts_that_are_off_are_in_no_event() -> None:
    assert parsed("hermes", ["<think>hm</think>yes"], thinking=True, show_thoughts=False) == [text("yes")]


def _prompt(folder: Path, template: str, think: bool = True, **fields: Any) -> str:
    request = ChatRequest(model="m", **({"messages": USER} | fields))
    return asyncio.run(ChatTemplate.open(template_spec(folder, template)).render(request, think)).text


@pytest.mark.parametrize(
    ("effort", "think", "shown"),
    [
        ("", True, "medium"),
        ("low", True, "low"),
        ("high", True, "high"),
        ("max", True, "high"),
        ("", False, "low"),
    ],
)
def test_a_template_that_knows_levels_is_given_one(
    tmp_path: Path, effort: str, think: bool, shown: str
) -> None:
    assert _prompt(tmp_path, GPT_OSS, think, effort=effort) == f"<|channel|>{shown}"


def test_a_template_with_channels_makes_a_model_that_thinks(tmp_path: Path) -> None:
    assert "thinking" in ChatTemplate.open(template_spec(tmp_path, GPT_OSS)).capabilities


def test_a_template_of_a_model_that_always_thinks_says_so(tmp_path: Path) -> None:
    template = ChatTemplate.open(template_spec(tmp_path, "{{ messages[0].content }}{# [THINK] #}"))
    assert "thinking" in template.capabilities
    assert template.think_tags.close == "[/THINK]"


def test_a_turn_of_calls_has_no_content_where_a_template_asks_for_none(tmp_path: Path) -> None:
    template = (
        "{# <｜tool▁call▁begin｜> #}{% for m in messages %}{% if m['content'] is none %}"
        "{{ m.tool_calls[0].id + m.tool_calls[0].function.arguments }}{% endif %}{% endfor %}"
    )
    turns = (*USER, Message(role="assistant", tool_calls=(ToolCall("one", "f", {"a": "ü"}),)))
    assert _prompt(tmp_path, template, messages=turns) == 'one{"a": "ü"}'
    said = (*USER, Message(role="assistant", content="I look.", tool_calls=(ToolCall("two", "f", {}),)))
    assert _prompt(tmp_path, template, messages=said) == ""


def test_ids_of_calls_have_nine_letters_where_a_template_wants_it(tmp_path: Path) -> None:
    template = (
        "{# ids have length 9 #}{% for m in messages %}{{ m.tool_call_id or '' }}"
        "{% for c in m.tool_calls or [] %}{{ c.id }}|{% endfor %}{% endfor %}"
    )
    call = ToolCall("call_abcdefgh", "f", {})
    turns = (
        *USER,
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", tool_call_id="call_abcdefgh"),
    )
    first, second = _prompt(tmp_path, template, messages=turns).split("|")
    assert first == second
    assert len(first) == 9
    assert first.isalnum()


@pytest.mark.parametrize(
    ("effort", "expected"),
    [("none", (False, "")), ("minimal", (True, "low")), ("high", (True, "high")), ("xhigh", (True, "max"))],
)
def test_openai_names_an_effort(effort: str, expected: tuple[bool, str]) -> None:
    body = f'{{"model":"m","messages":[{{"role":"user","content":"x"}}],"reasoning_effort":"{effort}"}}'
    request = parse_chat(body.encode())
    assert isinstance(request, ChatRequest)
    assert (request.think, request.effort) == expected


def test_ollama_and_anthropic_name_levels_too() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"think":"low"}'
    request = ollama.parse_chat(body)
    assert isinstance(request, ChatRequest)
    assert (request.think, request.effort) == (True, "low")
    request = parse_messages(
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],'
        b'"thinking":{"type":"adaptive"},"output_config":{"effort":"medium"}}'
    )
    assert (request.think, request.effort) == (None, "medium")


def test_off_ends_the_thoughts_that_a_template_always_begins() -> None:
    template = (DEMO.path / "chat_template.jinja").read_text("utf-8") + "<think>\n"
    spec = structs.replace(DEMO, template=template.replace("<think>\\n\\n</think>\\n\\n", ""))

    async def scenario() -> None:
        async with running_engine() as engine:
            on = await events_of(engine, spec, ask("What is 2 and 2?", think=True))
            off = await events_of(engine, spec, ask("What is 2 and 2?", think=False))
            assert any(isinstance(event, ReasoningDelta) for event in on)
            assert not any(isinstance(event, ReasoningDelta) for event in off)
            assert text_of(off)

    run(scenario)
