"""Whatever an answer holds, its tokens change nothing else on the wire, and a stream tells those that a whole does."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from answers import answers, request_of, streamed, text_of, thoughts_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from compat_api import ollama, openai
from compat_api.dialect import Dialect
from compat_api.openai.response_requests import ResponsesRequest
from inference.events import Event, ReasoningDelta, TextDelta
from inference.shown_token import Token
from inference.types import ChatRequest

FEW = settings(max_examples=60, deadline=None)
figures = st.one_of(st.floats(-60, 0, width=32), st.sampled_from((-math.inf, math.nan)))


@st.composite
def logged(draw: st.DrawFn) -> list[Event]:
    """An answer whose texts come with tokens: their bytes, cut anywhere."""
    return [
        structs.replace(event, tokens=tuple(_tokens(draw, event.text)))
        if isinstance(event, TextDelta | ReasoningDelta)
        else event
        for event in draw(answers)
    ]


def _tokens(draw: st.DrawFn, text: str) -> list[Token]:
    data = text.encode()
    cuts = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=3))})
    return [
        Token(data[start:end], draw(figures), len(data[:start].decode(errors="ignore")))
        for start, end in pairwise(cuts)
    ]


def both(request: ChatRequest) -> tuple[ChatRequest, ChatRequest]:
    return structs.replace(request, logprobs=True), request


def entries_of(events: Sequence[Event], thoughts: bool = False) -> list[Token]:
    shown = (TextDelta, ReasoningDelta) if thoughts else (TextDelta,)
    texts = [event for event in events if isinstance(event, TextDelta | ReasoningDelta)]
    return [token for event in texts if isinstance(event, shown) for token in event.tokens]


def check(found: list[dict[str, Any]], expected: list[Token]) -> None:
    assert [bytes(entry["bytes"]) for entry in found] == [token.spelled for token in expected]
    assert [entry["token"] for entry in found] == [token.text for token in expected]
    assert all(-9999 <= entry["logprob"] <= 0 for entry in found)  # numbers, whatever the engine says


def objects_of(body: bytes) -> list[dict[str, Any]]:
    """Of lines, or of blocks with data."""
    if body.startswith(b"{"):
        return [json.loads(line) for line in body.splitlines()]
    lines = [line for line in body.decode().split("\n") if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def bare(value: Any) -> Any:
    """Without log probabilities, and what differs from answer to answer."""
    if isinstance(value, dict):
        own = {"logprobs", "id", "item_id", "created", "created_at", "completed_at"}
        return {name: bare(inner) for name, inner in value.items() if name not in own}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def check_the_rest(dialect: Dialect, request: ChatRequest, events: list[Event]) -> list[dict[str, Any]]:
    told, plain = both(request)
    found = objects_of(streamed(dialect, told, events))
    assert bare(found) == bare(objects_of(streamed(dialect, plain, events)))
    assert bare(json.loads(whole(dialect, told, events))) == bare(json.loads(whole(dialect, plain, events)))
    return found


@FEW
@given(logged(), st.sampled_from((ollama.CHAT, ollama.GENERATE)))
def test_ollama_s_objects(events: list[Event], dialect: Dialect) -> None:
    lines = check_the_rest(dialect, request_of(), events)
    check([e for line in lines for e in line.get("logprobs", ())], entries_of(events, thoughts=True))
    for line in lines:
        message = line.get("message", line)
        shown = message.get("content", "") + message.get("response", "") + message.get("thinking", "")
        assert b"".join(bytes(entry["bytes"]) for entry in line.get("logprobs", ())).decode() == shown
    one = json.loads(whole(dialect, both(request_of())[0], events))
    check(one.get("logprobs", []), entries_of(events, thoughts=True))
    assert ("logprobs" in one) == bool(text_of(events) + thoughts_of(events))


@FEW
@given(logged(), st.booleans())
def test_chunks_of_a_chat_completion(events: list[Event], usage: bool) -> None:
    chunks = check_the_rest(openai.CHAT, request_of(usage), events)
    told = [choice["logprobs"] for chunk in chunks for choice in chunk["choices"] if choice.get("logprobs")]
    check([entry for part in told for entry in part["content"]], entries_of(events))
    choice = json.loads(whole(openai.CHAT, both(request_of())[0], events))["choices"][0]
    check(choice["logprobs"]["content"], entries_of(events))


@FEW
@given(logged())
def test_chunks_of_a_text_completion(events: list[Event]) -> None:
    chunks = check_the_rest(openai.COMPLETIONS, request_of(), events)
    told: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "text_offset": []}
    for chunk in chunks:
        for name, values in (chunk["choices"][0]["logprobs"] or {}).items():
            assert values is None or len(values) == len(chunk["choices"][0]["logprobs"]["tokens"])
            told.get(name, []).extend(values or ())
    text = text_of(events)
    assert told["tokens"] == [token.text for token in entries_of(events)]
    for token, offset in zip(told["tokens"], told["text_offset"], strict=True):
        assert "\ufffd" in token or text.startswith(token, offset)
    one = json.loads(whole(openai.COMPLETIONS, both(request_of())[0], events))["choices"][0]
    assert one["logprobs"] == told | {"top_logprobs": None}


@FEW
@given(logged())
def test_events_of_a_response(events: list[Event]) -> None:
    found = check_the_rest(openai.RESPONSES, request_of(kind=ResponsesRequest), events)
    expected = entries_of(events)
    for kind in ("delta", "done"):
        parts = [event["logprobs"] for event in found if event["type"] == f"response.output_text.{kind}"]
        check([entry for part in parts for entry in part], expected)
    for response in (
        found[-1]["response"],
        json.loads(whole(openai.RESPONSES, both(request_of(kind=ResponsesRequest))[0], events)),
    ):
        messages = [item for item in response["output"] if item["type"] == "message"]
        check([entry for item in messages for entry in item["content"][0]["logprobs"]], expected)
