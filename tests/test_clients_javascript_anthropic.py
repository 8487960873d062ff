"""Anthropic's official JavaScript client, unmodified, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import javascript_clients
import pytest
from conftest import RunningServer
from javascript_clients import ClientError, JavaScriptClient

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
WEATHER_QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
GREEDY = {"model": "demo", "max_tokens": 80, "temperature": 0}
LONG = {"model": "demo", "max_tokens": 3000, "temperature": 1000, "top_k": 0, "top_p": 1}
"""As likely to end at a token as to say any other of two thousand: it is left before."""


@pytest.fixture(scope="module")
def claude(server: RunningServer) -> Iterator[JavaScriptClient]:
    with javascript_clients.running("anthropic", server.url) as client:
        yield client


def text_of(message: dict[str, Any]) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def test_a_message_comes_whole(claude: JavaScriptClient) -> None:
    message = claude.call("messages.create", GREEDY | {"messages": QUESTION})
    assert text_of(message)
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["usage"]["input_tokens"] > 5
    assert message["usage"]["output_tokens"] > 5


def test_a_stream_is_gathered_into_the_same_message(claude: JavaScriptClient) -> None:
    whole = claude.call("messages.create", GREEDY | {"messages": QUESTION})
    parts, final = claude.finish("messages.stream", "finalMessage", GREEDY | {"messages": QUESTION})
    assert parts[0]["type"] == "message_start"
    assert parts[-1]["type"] == "message_stop"
    assert sum(part["type"] == "content_block_delta" for part in parts) > 5
    assert text_of(final) == text_of(whole)
    assert final["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_events_come_without_the_helper(claude: JavaScriptClient) -> None:
    parts = claude.stream("messages.create", GREEDY | {"messages": QUESTION, "stream": True})
    assert [parts[0]["type"], parts[1]["type"]] == ["message_start", "content_block_start"]
    assert [part["type"] for part in parts[-3:]] == ["content_block_stop", "message_delta", "message_stop"]


def test_the_next_request_is_answered_after_a_stream_that_was_left(claude: JavaScriptClient) -> None:
    wish = LONG | {"messages": QUESTION}
    parts = claude.stream("messages.create", wish | {"stream": True}, leave_after=4)
    assert parts[-1]["type"] != "message_stop"
    with pytest.raises(ClientError) as caught:
        claude.stream("messages.stream", wish, leave_after=4)
    assert caught.value.name == "APIUserAbortError"
    assert text_of(claude.call("messages.create", GREEDY | {"messages": QUESTION}))


def test_thoughts_are_a_block_before_the_text(claude: JavaScriptClient) -> None:
    wish = {"model": "demo", "max_tokens": 2048, "messages": QUESTION}
    wish |= {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    _, final = claude.finish("messages.stream", "finalMessage", wish)
    thinking, text = final["content"]
    assert (thinking["type"], text["type"]) == ("thinking", "text")
    assert thinking["thinking"]


def test_a_tool_is_called_and_its_result_is_read(claude: JavaScriptClient) -> None:
    wish = GREEDY | {"tools": [WEATHER]}
    called = claude.call("messages.create", wish | {"messages": WEATHER_QUESTION})
    assert called["stop_reason"] == "tool_use"
    (use,) = called["content"]
    assert (use["name"], use["input"]) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "sunny in Paris"}
    messages = [
        *WEATHER_QUESTION,
        {"role": "assistant", "content": called["content"]},
        {"role": "user", "content": [result]},
    ]
    assert "sunny" in text_of(claude.call("messages.create", wish | {"messages": messages}))


def test_a_streamed_tool_call_is_gathered(claude: JavaScriptClient) -> None:
    wish = GREEDY | {"tools": [WEATHER], "messages": WEATHER_QUESTION}
    _, final = claude.finish("messages.stream", "finalMessage", wish)
    (use,) = final["content"]
    assert (use["name"], use["input"]) == ("get_weather", {"city": "Paris"})
    assert final["stop_reason"] == "tool_use"


def test_an_answer_keeps_to_a_schema(claude: JavaScriptClient) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "required": ["count"],
        "additionalProperties": False,
    }
    wish = GREEDY | {
        "messages": QUESTION,
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    message = claude.call("messages.parse", wish)
    assert isinstance(json.loads(text_of(message))["count"], int)


def test_tokens_are_counted_as_the_message_has_them(claude: JavaScriptClient) -> None:
    counted = claude.call("messages.countTokens", {"model": "demo", "messages": QUESTION})
    message = claude.call("messages.create", GREEDY | {"messages": QUESTION})
    assert counted["input_tokens"] == message["usage"]["input_tokens"]


def test_models_are_listed_and_retrieved(claude: JavaScriptClient) -> None:
    listed = {model["id"]: model for model in claude.stream("models.list")}
    assert "demo:latest" in listed
    found = claude.call("models.retrieve", "demo")
    assert (found["type"], found["id"]) == ("model", "demo")


@pytest.mark.parametrize(
    ("wish", "name", "status", "words"),
    [
        ({"model": "nope", "messages": QUESTION}, "NotFoundError", 404, "model 'nope' not found"),
        ({"messages": []}, "BadRequestError", 400, "messages is required"),
        ({"messages": QUESTION, "max_tokens": 0}, "BadRequestError", 400, "max_tokens is required"),
        (
            {"messages": [{"role": "user", "content": "word " * 6000}]},
            "BadRequestError",
            400,
            "prompt is too long: ",
        ),
    ],
    ids=["no such model", "no messages", "no tokens", "too long"],
)
def test_what_is_wrong_is_thrown_as_its_class(
    claude: JavaScriptClient, wish: dict[str, Any], name: str, status: int, words: str
) -> None:
    with pytest.raises(ClientError) as caught:
        claude.call("messages.create", GREEDY | wish)
    assert (caught.value.name, caught.value.status) == (name, status)
    assert words in caught.value.message
