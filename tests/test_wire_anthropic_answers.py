"""Streamed answers of Anthropic's Messages API into events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_calls import called, ended, fed, request, said, thought

from inference.backends.wire import WireError
from inference.backends.wires import WIRES
from inference.types import ToolCall, ToolChoice

WIRE = WIRES["anthropic"]


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()


def started(index: int, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind} | fields)


def stopped(reason: str | None, sequence: str | None = None, **usage: Any) -> bytes:
    told = {"stop_reason": reason, "stop_sequence": sequence}
    return event("message_delta", delta=told, usage={"output_tokens": 82} | usage) + event("message_stop")


BEGIN = event(
    "message_start",
    message={
        "model": "claude-sonnet-4-6", "id": "msg_01", "type": "message", "role": "assistant", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {
            "input_tokens": 1270, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 30, "output_tokens": 3,
            "cache_creation": {"ephemeral_5m_input_tokens": 100}, "service_tier": "standard",
        },
    },
)  # fmt: skip
THOUGHTS = (
    started(0, type="thinking", thinking="", signature="")
    + event("ping")
    + delta(0, "thinking_delta", thinking="hm")
    + delta(0, "signature_delta", signature="Eq8C")
    + event("content_block_stop", index=0)
)
TEXT = (
    started(1, type="text", text="") + delta(1, "text_delta", text="4") + event("content_block_stop", index=1)
)


def use(*pieces: str, given: object = None) -> bytes:
    parts = b"".join([delta(2, "input_json_delta", partial_json=piece) for piece in pieces])
    begin = started(2, type="tool_use", id="toolu_01", name="f", input={} if given is None else given)
    return begin + parts + event("content_block_stop", index=2)


def test_events_become_thoughts_text_and_counts() -> None:
    given = BEGIN + THOUGHTS + TEXT + stopped("end_turn", output_tokens_details={"thinking_tokens": 5})
    events = fed(WIRE.reader(request(think=True)), [given])
    assert (thought(events), said(events)) == ("hm", "4")
    end = ended(events)
    assert (end.reason, end.prompt_tokens, end.cached_tokens) == ("stop", 1400, 30)
    assert (end.completion_tokens, end.reasoning_tokens) == (82, 5)
    assert thought(fed(WIRE.reader(request(think=False)), [given])) == ""


def test_blocks_of_other_kinds_say_nothing() -> None:
    others = (
        started(0, type="redacted_thinking", data="Eq8C")
        + event("content_block_stop", index=0)
        + started(3, type="server_tool_use", id="srvtoolu_1", name="web_search", input={})
        + delta(3, "input_json_delta", partial_json='{"query": "x"}')
        + event("content_block_stop", index=3)
        + started(
            4, type="web_search_tool_result", tool_use_id="srvtoolu_1", content=[{"type": "x", "url": "u"}]
        )
        + event("content_block_stop", index=4)
        + event("something_new", index=9)
    )
    events = fed(WIRE.reader(request()), [BEGIN + others + TEXT + stopped("end_turn")])
    assert len(events) == 2
    assert said(events) == "4"


@pytest.mark.parametrize(
    "given",
    [use("", '{"x"', ": [1]}"), use('{"x":[1]}'), use(given={"x": [1]})],
    ids=["pieces", "one", "at once"],
)
def test_calls_are_gathered(given: bytes) -> None:
    events = fed(WIRE.reader(request()), [BEGIN + given + stopped("tool_use")])
    assert called(events) == [ToolCall("toolu_01", "f", {"x": [1]})]
    assert ended(events).reason == "stop"


def test_where_one_call_was_wished_for_the_first_is_taken() -> None:
    reader = WIRE.reader(request(tool_choice=ToolChoice(parallel=False)))
    assert len(called(fed(reader, [BEGIN + use("{}") + use("{}") + stopped("tool_use")]))) == 1


def test_a_call_that_the_limit_cut_is_left_out_and_any_other_that_cannot_be_made_is_a_failure() -> None:
    events = fed(WIRE.reader(request()), [BEGIN + TEXT + use('{"x":') + stopped("max_tokens")])
    assert (said(events), called(events), ended(events).reason) == ("4", [], "length")
    for broken in ('{"x":', "[1]"):
        with pytest.raises(WireError, match="'f'"):
            fed(WIRE.reader(request()), [BEGIN + use(broken) + stopped("tool_use")])


@pytest.mark.parametrize(
    ("reason", "sequence", "ours"),
    [
        ("end_turn", None, "stop"), ("stop_sequence", "###", "stop"), ("max_tokens", None, "length"),
        ("model_context_window_exceeded", None, "length"), ("refusal", None, "stop"), ("pause_turn", None, "stop"),
    ],
)  # fmt: skip
def test_reasons_become_ours(reason: str, sequence: str | None, ours: str) -> None:
    end = ended(fed(WIRE.reader(request()), [BEGIN + TEXT + stopped(reason, sequence)]))
    assert (end.reason, end.stop_sequence) == (ours, sequence or "")
