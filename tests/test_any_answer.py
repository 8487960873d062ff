"""Whatever an answer holds, each dialect writes it as its clients read it, and a stream says what the whole says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import httpx
import pytest
from answers import (
    Wire,
    answers,
    calls_in,
    finish_of,
    pieces,
    request_of,
    streamed,
    text_of,
    thoughts_of,
    whole,
)
from conftest import RunningServer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compat_api import anthropic, ollama, openai
from compat_api.dialect import unbroken
from compat_api.generation import DIALECTS
from compat_api.openai.response_requests import ResponsesRequest
from inference.events import Event, ReasoningDelta, TextDelta
from inference.types import ToolCall

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
WIRE = Wire()
TURNS: Any = [{"role": "user", "content": "a"}]
ASKED: Any = {"model": "Demo", "messages": TURNS}
FEW = settings(max_examples=60, deadline=None)


def called(events: Sequence[Event]) -> list[tuple[str, str, Any]]:
    return [(call.id, call.name, call.arguments) for call in calls_in(events)]


# --- Ollama -------------------------------------------------------------------------------------------------


def check_object(found: dict[str, Any], events: Sequence[Event]) -> None:
    """The last one, of a stream or whole."""
    finish = finish_of(events)
    assert found["done_reason"] == finish.reason
    assert (found["prompt_eval_count"], found.get("eval_count", 0)) == (
        finish.prompt_tokens,
        finish.completion_tokens,
    )
    for name in DURATIONS:
        assert type(found.get(name, 0)) is int
        assert found.get(name, 1) > 0, "zero is left out"
        assert found.get(name, 0) < 2**63


@FEW
@given(answers)
def test_lines_of_ollama_s_chat(events: list[Event]) -> None:
    body = streamed(ollama.CHAT, request_of(), events)
    assert body.endswith(b"\n")
    lines = [json.loads(line) for line in body[:-1].split(b"\n")]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert all(RFC3339.fullmatch(line["created_at"]) for line in lines)
    assert all((line["model"], line["message"]["role"]) == ("Demo", "assistant") for line in lines)
    check_object(lines[-1], events)
    parts = list(WIRE.gives(ollama.CHAT, body, True).ollama.chat("Demo", TURNS, stream=True))
    assert "".join(part.message.content or "" for part in parts) == text_of(events)
    assert "".join(part.message.thinking or "" for part in parts) == thoughts_of(events)
    found = [call for line in lines for call in line["message"].get("tool_calls", ())]
    check_calls(found, events)
    one = json.loads(whole(ollama.CHAT, request_of(), events))
    check_object(one, events)
    assert one["message"]["content"] == text_of(events)
    assert one["message"].get("thinking", "") == thoughts_of(events)
    check_calls(one["message"].get("tool_calls", []), events)


def check_calls(found: list[dict[str, Any]], events: Sequence[Event]) -> None:
    assert [call["function"]["index"] for call in found] == list(range(len(found)))
    got = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in found]
    assert got == called(events)


@FEW
@given(answers)
def test_lines_of_ollama_s_generate(events: list[Event]) -> None:
    body = streamed(ollama.GENERATE, request_of(), events)
    parts = list(WIRE.gives(ollama.GENERATE, body, True).ollama.generate("Demo", "a", stream=True))
    assert "".join(part.response or "" for part in parts) == text_of(events)
    assert "".join(part.thinking or "" for part in parts) == thoughts_of(events)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    check_object(json.loads(body.splitlines()[-1]), events)
    one = json.loads(whole(ollama.GENERATE, request_of(), events))
    check_object(one, events)
    assert (one["response"], one.get("thinking", "")) == (text_of(events), thoughts_of(events))


# --- OpenAI -------------------------------------------------------------------------------------------------


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    """Of a stream of chunks, after a look at its grammar and its end."""
    *blocks, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    chunks: list[dict[str, Any]] = [json.loads(block[len("data: ") :]) for block in blocks]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    return chunks


@FEW
@given(answers, st.booleans())
def test_chunks_of_a_chat_completion(events: list[Event], usage: bool) -> None:
    request, finish = request_of(usage), finish_of(events)
    body = streamed(openai.CHAT, request, events)
    chunks = chunks_of(body)
    assert [chunk["choices"] == [] for chunk in chunks] == [False] * (len(chunks) - usage) + [True] * usage
    deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert ["role" in choice["delta"] for choice in deltas] == [True] + [False] * (len(deltas) - 1)
    reasons = [choice["finish_reason"] for choice in deltas]
    assert reasons[:-1] == [None] * (len(deltas) - 1)
    expected = "tool_calls" if calls_in(events) and finish.reason == "stop" else finish.reason
    assert reasons[-1] == expected
    assert "".join(choice["delta"].get("reasoning", "") for choice in deltas) == thoughts_of(events)
    with WIRE.gives(openai.CHAT, body, True).openai.chat.completions.stream(**ASKED) as stream:
        for _ in stream:
            pass
        said = stream.current_completion_snapshot
    one = json.loads(whole(openai.CHAT, request, events))["choices"][0]
    assert one["message"].get("reasoning", "") == thoughts_of(events)
    for message, reason in (
        (said.choices[0].message.to_dict(), said.choices[0].finish_reason),
        (one["message"], one["finish_reason"]),
    ):
        assert (message["content"] or "", reason) == (text_of(events), expected)
        assert call_functions(message.get("tool_calls")) == called(events)
    if usage:
        assert chunks[-1]["usage"]["total_tokens"] == finish.prompt_tokens + finish.completion_tokens


def call_functions(found: Any) -> list[tuple[str, str, Any]]:
    return [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in found or ()
    ]


@FEW
@given(answers)
def test_chunks_of_a_text_completion(events: list[Event]) -> None:
    body = streamed(openai.COMPLETIONS, request_of(), events)
    chunks_of(body)
    client = WIRE.gives(openai.COMPLETIONS, body, True).openai
    choices = [chunk.choices[0] for chunk in client.completions.create(model="Demo", prompt="a", stream=True)]
    assert "".join(choice.text for choice in choices) == text_of(events)
    reasons = [choice.finish_reason for choice in choices]
    assert reasons == [None] * (len(choices) - 1) + [finish_of(events).reason]
    one = json.loads(whole(openai.COMPLETIONS, request_of(), events))["choices"][0]
    assert (one["text"], one["finish_reason"]) == (text_of(events), reasons[-1])


def events_of(body: bytes) -> list[dict[str, Any]]:
    """Named events, each as its data says."""
    *blocks, rest = body.decode().split("\n\n")
    assert rest == ""
    found = []
    for block in blocks:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@FEW
@given(answers)
def test_events_of_a_response(events: list[Event]) -> None:
    request = request_of(kind=ResponsesRequest)
    body = streamed(openai.RESPONSES, request, events)
    found = events_of(body)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    status = "incomplete" if finish_of(events).reason == "length" else "completed"
    assert found[-1]["type"] == f"response.{status}"
    check_items(found)
    with WIRE.gives(openai.RESPONSES, body, True).openai.responses.stream(model="Demo", input="a") as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == f"response.{status}"
    one = json.loads(whole(openai.RESPONSES, request, events))
    for response in (found[-1]["response"], one):
        assert response["status"] == status
        assert said_in(response, "message", "content") == text_of(events)
        assert said_in(response, "reasoning", "summary") == thoughts_of(events)
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        got = [(call["call_id"], call["name"], json.loads(call["arguments"])) for call in calls]
        assert got == called(events)
    kinds_of = [[item["type"] for item in response["output"]] for response in (found[-1]["response"], one)]
    assert kinds_of[0] == kinds_of[1]


def check_items(found: list[dict[str, Any]]) -> None:
    """One item is open at a time, and what it grew to is what it ends as."""
    is_open, count, grown = "", 0, ""
    for event in found[2:-1]:
        kind = event["type"]
        assert event["output_index"] == count
        if kind == "response.output_item.added":
            assert not is_open
            is_open, grown = event["item"]["id"], ""
        elif kind == "response.output_item.done":
            assert event["item"]["id"] == is_open
            is_open, count = "", count + 1
        else:
            assert event["item_id"] == is_open
            if kind.endswith(".delta"):
                grown += event["delta"]
            elif kind.endswith(("_text.done", "arguments.done")):
                assert event.get("text", event.get("arguments")) == grown
    assert not is_open


def said_in(response: dict[str, Any], kind: str, field: str) -> str:
    return "".join(
        part["text"] for item in response["output"] if item["type"] == kind for part in item[field]
    )


# --- Anthropic ----------------------------------------------------------------------------------------------


@FEW
@given(answers)
def test_events_of_a_message(events: list[Event]) -> None:
    body = streamed(anthropic.MESSAGES, request_of(), events)
    found = events_of(body)
    kinds = [event["type"] for event in found]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    check_blocks(found[1:-2])
    with WIRE.gives(anthropic.MESSAGES, body, True).anthropic.messages.stream(
        **ASKED, max_tokens=9
    ) as stream:
        message = stream.get_final_message()
    said = [
        (block.type, getattr(block, "text", None) or getattr(block, "thinking", None))
        for block in message.content
    ]
    assert said == blocks_of(events)
    got = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
    assert got == called(events)
    reason = (
        "tool_use"
        if calls_in(events)
        else {"stop": "end_turn", "length": "max_tokens"}[finish_of(events).reason]
    )
    one = json.loads(whole(anthropic.MESSAGES, request_of(), events))
    assert message.stop_reason == one["stop_reason"] == reason
    assert "".join(block.get("text", "") for block in one["content"]) == text_of(events)
    assert "".join(block.get("thinking", "") for block in one["content"]) == thoughts_of(events)
    assert [(b["id"], b["name"], b["input"]) for b in one["content"] if b["type"] == "tool_use"] == called(
        events
    )


def check_blocks(found: list[dict[str, Any]]) -> None:
    """One is open at a time, indexes count up, and what a delta adds to is there from the start."""
    is_open, count = "", 0
    for event in found:
        assert event["index"] == count
        match event["type"]:
            case "content_block_start":
                assert not is_open
                is_open = event["content_block"]["type"]
            case "content_block_delta":
                kinds = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
                assert event["delta"]["type"] == kinds[is_open]
            case "content_block_stop":
                assert is_open
                is_open, count = "", count + 1
            case kind:
                pytest.fail(kind)
    assert not is_open


def blocks_of(events: Sequence[Event]) -> list[tuple[str, str | None]]:
    """Neighbours of one kind are one block; each call is one."""
    kinds: dict[type, str] = {TextDelta: "text", ReasoningDelta: "thinking", ToolCall: "tool_use"}
    found: list[tuple[str, str | None]] = []
    for kind, group in groupby(events[1:-1], key=type):
        parts = list(group)
        if kind is ToolCall:
            found += [("tool_use", None)] * len(parts)
        else:
            found.append((kinds[kind], text_of(parts) or thoughts_of(parts)))
    return found


# --- Line ends ----------------------------------------------------------------------------------------------


@FEW
@given(st.lists(pieces, max_size=4))
@example(["\u2028", "\x85", "\u2029"])
def test_a_line_is_one_line_for_every_reader_of_lines(said: list[str]) -> None:
    body = json.dumps(said, ensure_ascii=False).encode()
    assert len(unbroken(body).decode().splitlines()) == 1
    assert json.loads(unbroken(body)) == said


def test_a_stream_of_the_server_has_no_other_line_ends(server: RunningServer) -> None:
    said = "one\u2028two\u2029three\x85four"
    body = {"model": "demo", "prompt": said, "max_tokens": 2, "echo": True, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as answer:
        chunks = [
            json.loads(line[len("data: ") :]) for line in answer.iter_lines() if line.startswith("data: {")
        ]
    assert chunks[0]["choices"][0]["text"].startswith(said)


def test_every_dialect_that_generates_is_looked_at_here() -> None:
    looked_at = (
        *(ollama.CHAT, ollama.GENERATE, openai.CHAT, openai.COMPLETIONS, openai.RESPONSES),
        anthropic.MESSAGES,
    )
    assert {id(dialect) for dialect in DIALECTS.values()} == {id(dialect) for dialect in looked_at}
