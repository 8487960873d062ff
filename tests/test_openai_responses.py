"""OpenAI's bytes: the exact sequence of chunks, and the whole object."""

from __future__ import annotations

import base64
import json
import re
from array import array
from typing import Any

import pytest
from answers import FINISH, START
from msgspec import structs

from compat_api.openai import responses
from compat_api.openai.responses import ChatEncoder
from inference.events import Embeddings, ReasoningDelta, TextDelta
from inference.types import ChatRequest, EmbedRequest, ToolCall

CALL = ToolCall("call_abcd1234", "f", {"a": 1})
HEAD = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":5,"model":"Demo",'
    b'"system_fingerprint":"fp_ollama","choices":['
)
USAGE = b'{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}'


def encoder(include_usage: bool = False) -> Any:
    request = ChatRequest(model="Demo", messages=(), include_usage=include_usage)
    return ChatEncoder(request, answer_id="chatcmpl-1", created=5)


def chunk(delta: Any, reason: Any = b"null") -> Any:
    return HEAD + b'{"index":0,"delta":' + delta + b',"finish_reason":' + reason + b"}]}\n\n"


def stream(*events: Any, include_usage: bool = False) -> Any:
    write = encoder(include_usage).event
    return b"".join(write(event) for event in (START, *events))


def test_the_role_is_in_the_first_chunk_only() -> None:
    assert stream(TextDelta("hé"), TextDelta("llo"), FINISH) == (
        chunk('{"role":"assistant","content":"hé"}'.encode())
        + chunk(b'{"content":"llo"}')
        + chunk(b"{}", b'"stop"')
        + b"data: [DONE]\n\n"
    )


def test_an_empty_completion_still_has_a_role_chunk() -> None:
    assert stream(FINISH) == (
        chunk(b'{"role":"assistant","content":""}') + chunk(b"{}", b'"stop"') + b"data: [DONE]\n\n"
    )


def test_reasoning_and_tools_have_empty_content_beside_them() -> None:
    call = (
        b'"tool_calls":[{"id":"call_abcd1234","index":0,"type":"function","function":{"name":"f",'
        b'"arguments":"{\\"a\\":1}"}}]}'
    )
    assert stream(ReasoningDelta("hm"), CALL, FINISH) == (
        chunk(b'{"role":"assistant","content":"","reasoning":"hm"}')
        + chunk(b'{"content":"",' + call)
        + chunk(b"{}", b'"tool_calls"')
        + b"data: [DONE]\n\n"
    )


def test_usage_comes_last_and_only_when_asked_for() -> None:
    assert stream(TextDelta("a"), FINISH, include_usage=True).endswith(
        chunk(b"{}", b'"stop"') + HEAD + b'],"usage":' + USAGE + b"}\n\n" + b"data: [DONE]\n\n"
    )
    assert b"usage" not in stream(TextDelta("a"), FINISH)


@pytest.mark.parametrize(
    ("events", "reason", "finish_reason"),
    [
        ([], "stop", "stop"),
        ([], "length", "length"),
        ([CALL], "stop", "tool_calls"),
        ([CALL], "length", "length"),
    ],
)
def test_tool_calls_win_over_stop_only(events: Any, reason: Any, finish_reason: Any) -> None:
    finish = structs.replace(FINISH, reason=reason)
    answer = json.loads(encoder().whole([START, *events, finish]))
    assert answer["choices"][0]["finish_reason"] == finish_reason


def test_a_whole_answer_has_message_and_usage() -> None:
    events = [START, ReasoningDelta("hm"), TextDelta("a"), TextDelta("b"), CALL, FINISH]
    assert json.loads(encoder().whole(events)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "Demo",
        "system_fingerprint": "fp_ollama",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "ab",
                    "reasoning": "hm",
                    "tool_calls": [
                        {
                            "id": "call_abcd1234",
                            "index": 0,
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"a":1}'},
                        }
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }


def test_an_error_in_a_stream_is_what_the_sdks_raise_on() -> None:
    assert encoder().error(500, "the worker ended", None) == (
        b'data: {"error":{"message":"the worker ended","type":"api_error","param":null,"code":null}}\n\n'
    )


def test_every_answer_has_an_id_of_its_own() -> None:
    request = ChatRequest(model="m", messages=())
    chunks = [ChatEncoder(request).event(TextDelta("a")) for _ in range(2)]
    ids = {json.loads(chunk.removeprefix(b"data: "))["id"] for chunk in chunks}
    assert all(re.fullmatch("chatcmpl-[0-9a-f]{24}", each) for each in ids)
    assert len(ids) == 2


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_come_as_floats_or_as_little_endian_base64(encoding: Any) -> None:
    vectors = tuple(array("f", values).tobytes() for values in ([0.5, -1.0], [0.25, 2.0]))
    result = Embeddings(vectors=vectors, norms=(6.0, 7.0), prompt_tokens=4, start=START, total_s=0.1)
    request = EmbedRequest(model="Mini", texts=("a", "b"), encoding=encoding)
    answer = json.loads(responses.embeddings(request, result))
    assert answer["object"] == "list"
    assert answer["model"] == "Mini"
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert [item["index"] for item in answer["data"]] == [0, 1]
    given = [item["embedding"] for item in answer["data"]]
    if encoding == "base64":
        given = [array("f", base64.b64decode(text)).tolist() for text in given]
    assert given == [[0.5, -1.0], [0.25, 2.0]]
