"""An answer that a client sends back as a turn of the conversation means what it meant when it was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from answers import calls_in, request_of, text_of, thoughts_of, turns, whole
from hypothesis import given, settings

from compat_api import anthropic, ollama, openai
from compat_api.dialect import Dialect
from compat_api.openai.response_requests import ResponsesRequest
from inference.events import Event
from inference.types import ChatRequest, Message

QUESTION = {"role": "user", "content": "a"}
Back = Callable[[dict[str, Any]], dict[str, Any]]


def as_turns(answer: dict[str, Any], **body: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [QUESTION, answer, QUESTION], **body}


WAYS: dict[str, tuple[Dialect, Back]] = {
    "ollama": (ollama.CHAT, lambda said: as_turns(said["message"])),
    "openai": (openai.CHAT, lambda said: as_turns(said["choices"][0]["message"])),
    "responses": (
        openai.RESPONSES,
        lambda said: {"model": "m", "input": [QUESTION, *said["output"], QUESTION]},
    ),
    "anthropic": (
        anthropic.MESSAGES,
        lambda said: as_turns({"role": said["role"], "content": said["content"]}, max_tokens=5),
    ),
}
"""The dialect, and what a client does with the answer of its endpoint."""


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=150, deadline=None)
@given(events=turns)
def test_an_answer_sent_back_is_the_same_turn(way: str, events: list[Event]) -> None:
    dialect, back = WAYS[way]
    said = whole(dialect, request_of(kind=ResponsesRequest), events)
    parsed = dialect.parse(json.dumps(back(json.loads(said))).encode())
    assert isinstance(parsed, ChatRequest)
    expected = Message(
        role="assistant",
        content=text_of(events),
        thinking=thoughts_of(events),
        tool_calls=tuple(calls_in(events)),
    )
    asked = Message(role="user", content="a")
    nothing = expected == Message(role="assistant") and way == "responses"
    assert parsed.messages == ((asked, asked) if nothing else (asked, expected, asked))
