"""What a chat may ask for, through a server to another, by each protocol, as the official clients see it."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import ollama
import openai
import pytest
import test_remote_servers
from conftest import RunningServer
from wire_clients import TOOL_QUESTIONS, claude, native, v1

front = test_remote_servers.front
EVERY = pytest.mark.parametrize("protocol", test_remote_servers.PROTOCOLS)
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "", "parameters": CITY},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "boolean"}},
    "required": ["answer"],
}
SUM: Any = [{"role": "user", "content": "What is 2 + 2?"}]


def asked(text: str) -> Any:
    return [{"role": "user", "content": text}]


@EVERY
def test_openais_client_calls_a_tool_and_tells_its_result(front: RunningServer, protocol: str) -> None:
    chats = v1(front.url).chat.completions
    wanted: Any = {
        "model": f"{protocol}/demo",
        "tools": [FUNCTION],
        "temperature": 0,
        "reasoning_effort": "none",
    }
    for question in TOOL_QUESTIONS:
        choice = chats.create(messages=asked(question), **wanted).choices[0]
        if choice.finish_reason == "tool_calls":
            break
    message: Any = choice.message.model_dump(exclude_none=True)
    (call,) = message["tool_calls"]
    assert list(json.loads(call["function"]["arguments"])) == ["city"]
    result: Any = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
    ended = chats.create(messages=[*asked(question), message, result], **wanted).choices[0]
    assert ended.finish_reason == "stop"
    assert ended.message.content


@EVERY
def test_ollamas_client_sees_thoughts_apart(front: RunningServer, protocol: str) -> None:
    model = f"{protocol}/demo"
    thought = native(front.url).chat(model=model, messages=SUM, think=True, options={"temperature": 0})
    assert thought.message.thinking
    assert thought.message.content
    silent = native(front.url).chat(model=model, messages=SUM, think=False, options={"temperature": 0})
    assert not silent.message.thinking


@EVERY
def test_a_format_binds_the_answer_of_a_server_behind(front: RunningServer, protocol: str) -> None:
    wanted: Any = {"model": f"{protocol}/demo", "messages": asked("Is the sky blue?"), "think": False}
    answer = native(front.url).chat(**wanted, format=SCHEMA)
    assert type(json.loads(answer.message.content or "")["answer"]) is bool


@EVERY
def test_limits_and_stop_strings_end_an_answer_behind(front: RunningServer, protocol: str) -> None:
    wanted: Any = {"model": f"{protocol}/demo", "messages": asked("How do I pull a model?")}
    cut = claude(front.url).messages.create(**wanted, max_tokens=3)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    options = {"temperature": 0}
    whole = native(front.url).chat(**wanted, think=False, options=options).message.content or ""
    stop = whole[10:14]
    ended = native(front.url).chat(**wanted, think=False, options={**options, "stop": [stop]})
    assert ended.message.content == whole[: whole.index(stop)]
    assert ended.done_reason == "stop"


@EVERY
def test_anthropics_client_requires_a_call(front: RunningServer, protocol: str) -> None:
    tool: Any = {"name": "get_weather", "input_schema": CITY}
    wanted: Any = {
        "model": f"{protocol}/demo",
        "max_tokens": 200,
        "messages": asked("Tell me a story."),
        "tools": [tool],
    }
    choice: Any = {"type": "tool", "name": "get_weather"}
    if protocol == "ollama":  # it has no such choice
        with pytest.raises(anthropic.APIStatusError, match="require"):
            claude(front.url).messages.create(**wanted, tool_choice=choice)
        return
    answer = claude(front.url).messages.create(**wanted, tool_choice=choice)
    assert answer.stop_reason == "tool_use"
    assert [block.name for block in answer.content if block.type == "tool_use"] == ["get_weather"]


@EVERY
def test_log_probabilities_come_from_behind_where_the_api_has_them(
    front: RunningServer, protocol: str
) -> None:
    wanted: Any = {"model": f"{protocol}/demo", "messages": SUM, "logprobs": True, "reasoning_effort": "none"}
    if protocol == "anthropic":
        with pytest.raises(openai.APIStatusError, match="log probabilities"):
            v1(front.url).chat.completions.create(**wanted)
        return
    choice = v1(front.url).chat.completions.create(**wanted).choices[0]
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert b"".join([bytes(token.bytes or []) for token in tokens]).decode() == choice.message.content


@EVERY
def test_a_raw_prompt_goes_where_the_api_has_them(front: RunningServer, protocol: str) -> None:
    wanted: Any = {
        "model": f"{protocol}/demo",
        "prompt": "How do I",
        "raw": True,
        "options": {"num_predict": 4},
    }
    if protocol == "anthropic":
        with pytest.raises(ollama.ResponseError, match="raw"):
            native(front.url).generate(**wanted)
        return
    assert native(front.url).generate(**wanted).eval_count == 4
