"""POST /v1/chat/completions against the real server: OpenAI's own client, and the sequence of chunks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from conftest import RunningServer
from openai.types.chat import ChatCompletionChunk
from wire_clients import TOOL_QUESTIONS, v1

QUESTION: Any = [{"role": "user", "content": "How do I pull a model?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def blocks(server: RunningServer, **fields: Any) -> tuple[httpx.Response, list[str]]:
    """The response and the payloads of its SSE blocks, after checking the framing."""
    body = {
        "model": "demo",
        "messages": QUESTION,
        "temperature": 0,
        "stream": True,
        "reasoning_effort": "none",
    }
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body | fields, timeout=60)
    assert answer.status_code == 200, answer.text
    *parts, rest = answer.text.split("\n\n")
    assert rest == ""
    assert all(part.startswith("data: ") and "\n" not in part for part in parts)
    return answer, [part.removeprefix("data: ") for part in parts]


def test_the_client_gets_a_whole_answer(server: RunningServer) -> None:
    answer = v1(server.url).chat.completions.create(
        model="Demo", messages=QUESTION, temperature=0, reasoning_effort="none"
    )
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "Demo"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_client_streams_the_same(server: RunningServer) -> None:
    def ask(stream: bool) -> Any:
        return v1(server.url).chat.completions.create(
            model="demo", messages=QUESTION, temperature=0, reasoning_effort="none", stream=stream
        )

    chunks: list[ChatCompletionChunk] = list(ask(True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == ask(False).choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    assert len({chunk.created for chunk in chunks}) == 1


def test_the_sequence_of_chunks(server: RunningServer) -> None:
    answer, payloads = blocks(server)
    assert answer.headers["content-type"] == "text/event-stream"
    assert payloads[-1] == "[DONE]"
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    first, *middle, last = [chunk["choices"][0] for chunk in chunks]
    assert first["delta"]["role"] == "assistant"
    assert isinstance(first["delta"]["content"], str)
    assert all(set(choice["delta"]) == {"content"} for choice in middle)
    assert all(choice["finish_reason"] is None for choice in (first, *middle))
    assert last == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_is_streamed_where_it_is_asked_for(server: RunningServer) -> None:
    _, payloads = blocks(server, stream_options={"include_usage": True})
    usage = json.loads(payloads[-2])
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] > 0
    assert [("usage" in json.loads(payload)) for payload in payloads[:-1]].count(True) == 1


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_token_limit_count(server: RunningServer, field: str) -> None:
    limit: Any = {field: 3}
    answer = v1(server.url).chat.completions.create(
        model="demo", messages=QUESTION, reasoning_effort="none", **limit
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_reasoning_comes_apart_from_the_answer(server: RunningServer) -> None:
    _, payloads = blocks(server, reasoning_effort="low")
    deltas = [json.loads(payload)["choices"][0]["delta"] for payload in payloads[:-1]]
    thoughts = [delta for delta in deltas if "reasoning" in delta]
    assert thoughts
    assert all(delta["content"] == "" for delta in thoughts)


def test_a_tool_call_has_its_arguments_as_a_string(server: RunningServer) -> None:
    for question in TOOL_QUESTIONS:  # a tiny model: one of them is enough
        messages: Any = [{"role": "user", "content": question}]
        fields: Any = {"model": "demo", "messages": messages, "tools": [WEATHER], "temperature": 0}
        answer = v1(server.url).chat.completions.create(**fields, reasoning_effort="none")
        if calls := answer.choices[0].message.tool_calls:
            break
    assert calls, "no question made the model call its tool"
    assert answer.choices[0].finish_reason == "tool_calls"
    call: Any = calls[0]
    assert isinstance(json.loads(call.function.arguments), dict)
    with v1(server.url).chat.completions.stream(**fields, reasoning_effort="none") as stream:
        final: Any = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.name == call.function.name
    none = v1(server.url).chat.completions.create(**fields, tool_choice="none", reasoning_effort="none")
    assert none.choices[0].finish_reason != "tool_calls"
    assert none.usage is not None
    assert answer.usage is not None
    assert none.usage.prompt_tokens < answer.usage.prompt_tokens, "without tools they are not in the prompt"


def test_response_format_with_a_schema(server: RunningServer) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "size": {"type": "integer", "maximum": 99},
        },
        "required": ["name", "size"],
        "additionalProperties": False,
    }
    answer = v1(server.url).chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, reasoning_effort="none", max_tokens=256,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )  # fmt: skip
    value = json.loads(answer.choices[0].message.content or "")
    assert set(value) == {"name", "size"}
    assert isinstance(value["size"], int)


def test_parts_and_developer_are_taken(server: RunningServer) -> None:
    messages: Any = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "How do I"}, {"type": "text", "text": "pull a model?"}],
        },
    ]
    answer = v1(server.url).chat.completions.create(model="demo", messages=messages, max_tokens=4)
    assert answer.choices[0].message.role == "assistant"


def test_the_same_temperature_is_asked_of_both_dialects_only_when_it_is_said(server: RunningServer) -> None:
    seeded: Any = {
        "model": "demo",
        "messages": QUESTION,
        "seed": 3,
        "max_tokens": 24,
        "reasoning_effort": "none",
    }
    unset = v1(server.url).chat.completions.create(**seeded)
    told = v1(server.url).chat.completions.create(**seeded, temperature=1.0, top_p=1.0)
    assert unset.choices[0].message.content == told.choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "raised", "words"),
    [
        ({"model": "nope"}, openai.NotFoundError, "model 'nope' not found"),
        ({"model": "all-minilm"}, openai.BadRequestError, '"all-minilm" does not support chat'),
        ({"messages": []}, openai.BadRequestError, "[] is too short - 'messages'"),
        ({"n": 33}, openai.BadRequestError, '"n": 33 answers to 1 prompts; from 1 to 32 in all are given'),
    ],
)
def test_the_client_raises_what_it_should(
    server: RunningServer, fields: Any, raised: type[openai.APIStatusError], words: str
) -> None:
    with pytest.raises(raised) as error:
        v1(server.url).chat.completions.create(**({"model": "demo", "messages": QUESTION} | fields))
    assert error.value.body == {"message": words, "type": error.value.type, "param": None, "code": None}


def test_a_prompt_that_fits_nowhere_is_told_in_the_words_clients_react_to(server: RunningServer) -> None:
    messages: Any = [{"role": "user", "content": "model " * 6000}]
    with pytest.raises(openai.BadRequestError) as error:
        v1(server.url).chat.completions.create(model="demo", messages=messages, stream=True)
    assert error.value.code == "context_length_exceeded"
    assert "maximum context length is" in error.value.message
