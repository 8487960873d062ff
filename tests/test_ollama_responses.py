"""Ollama's bytes, one table for each endpoint."""

from __future__ import annotations

import json
from array import array
from typing import Any

import pytest
from answers import FINISH, START

from compat_api.ollama import responses
from compat_api.ollama.responses import Encoder
from compat_api.timestamps import Stamps, rfc3339
from inference.events import Embeddings, ReasoningDelta, TextDelta
from inference.types import EmbedRequest, ToolCall

METRICS = (
    b'"total_duration":500000000,"prompt_eval_count":12,"prompt_eval_duration":20000000,"eval_count":3,'
    b'"eval_duration":70000000'
)
HEAD = b'{"model":"Demo","created_at":"2025-10-26T17:15:24.097767Z",'


def now() -> Any:
    return b"2025-10-26T17:15:24.097767Z"


def chat() -> Any:
    return Encoder("Demo", responses._CHAT, now)


def generate() -> Any:
    return Encoder("Demo", responses._GENERATE, now)


@pytest.mark.parametrize(
    ("event", "in_chat", "in_generate"),
    [
        (START, None, None),
        (TextDelta('é"\n'), rb'"content":"\u00e9\"\n"},"done":false'.replace(rb"\u00e9", "é".encode()), None),
        (TextDelta("hi"), b'"content":"hi"},"done":false', b'"response":"hi","done":false'),
        (
            ReasoningDelta("hm"),
            b'"content":"","thinking":"hm"},"done":false',
            b'"response":"","thinking":"hm","done":false',
        ),
        (
            ToolCall("call_abcd1234", "f", {"a": [1]}),
            b'"content":"","tool_calls":[{"id":"call_abcd1234","function":{"index":0,"name":"f",'
            b'"arguments":{"a":[1]}}}]},"done":false',
            None,
        ),
        (
            FINISH,
            b'"content":""},"done":true,"done_reason":"stop",' + METRICS,
            b'"response":"","done":true,"done_reason":"stop",' + METRICS,
        ),
    ],
)
def test_a_stream_carries_one_line_for_each_event(event: Any, in_chat: Any, in_generate: Any) -> None:
    if event is START:
        assert chat().event(event) == b""
    if in_chat:
        assert chat().event(event) == HEAD + b'"message":{"role":"assistant",' + in_chat + b"}\n"
    if in_generate:
        assert generate().event(event) == HEAD + in_generate + b"}\n"


def test_calls_are_counted_over_the_whole_answer() -> None:
    encoder = chat()
    lines = [json.loads(encoder.event(ToolCall(f"call_{i}", "f", {}))) for i in range(2)]
    assert [line["message"]["tool_calls"][0]["function"]["index"] for line in lines] == [0, 1]


def test_a_whole_answer_is_the_last_object_with_everything_in_it() -> None:
    events = [START, ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("a"), TextDelta("b")]
    call = ToolCall("call_abcd1234", "f", {"a": 1})
    assert chat().whole([*events, call, FINISH]) == (
        HEAD
        + b'"message":{"role":"assistant","content":"ab","thinking":"hm","tool_calls":[{"id":"call_abcd1234",'
        b'"function":{"index":0,"name":"f","arguments":{"a":1}}}]},"done":true,"done_reason":"stop",'
        + METRICS
        + b"}"
    )
    assert generate().whole([*events, FINISH]) == (
        HEAD + b'"response":"ab","thinking":"hm","done":true,"done_reason":"stop",' + METRICS + b"}"
    )


def test_an_error_in_a_stream_is_a_line_with_nothing_else() -> None:
    assert chat().error(500, "the worker ended", None) == b'{"error":"the worker ended"}\n'


def test_loading_is_answered_without_metrics() -> None:
    assert chat().loaded("load") == (
        HEAD + b'"message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}'
    )


def test_embeddings_are_floats_with_whole_durations() -> None:
    result = Embeddings(
        vectors=(array("f", [0.5, -1.0]).tobytes(),),
        norms=(6.0,),
        prompt_tokens=4,
        start=START,
        total_s=0.125,
    )
    request = EmbedRequest(model="All-MiniLM", texts=("a",))
    assert responses.embeddings(request, result) == (
        b'{"model":"All-MiniLM","embeddings":[[0.5,-1.0]],"total_duration":125000000,"load_duration":250000000,'
        b'"prompt_eval_count":4}'
    )
    assert responses.embeddings(request, None) == b'{"model":"All-MiniLM","embeddings":[]}'
    assert responses.legacy_embedding(request, result) == b'{"embedding":[3.0,-6.0]}'
    assert responses.legacy_embedding(request, None) == b'{"embedding":[]}'


def test_stamps_are_utc_with_z_and_follow_the_clock() -> None:
    clock = iter([1_761_498_924_097_767_123, 1_761_498_924_100_000_000, 1_761_498_925_000_000_999])
    stamps = Stamps(lambda: next(clock))
    assert stamps() == b"2025-10-26T17:15:24.097767Z"
    assert stamps() == b"2025-10-26T17:15:24.100000Z"
    assert stamps() == b"2025-10-26T17:15:25.000000Z"


def test_moments_of_any_zone_are_written_in_utc() -> None:
    from datetime import datetime, timedelta, timezone

    moment = datetime(2025, 10, 26, 19, 15, 24, 97767, timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2025-10-26T17:15:24.097767Z"
