"""Anthropic's answers: named SSE events with one block open at a time, or one message (api-contract 7)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Literal

import orjson

from compat_api import errors
from inference.events import Event, Finish, ReasoningDelta, Start, TextDelta
from inference.types import ChatRequest, ToolCall

_Open = Literal["", "text", "thinking"]


class MessageEncoder:
    """One message. The tokens of its prompt are known at its start, exactly."""

    def __init__(self, request: ChatRequest, *, answer_id: str = "") -> None:
        self._id = answer_id or f"msg_{secrets.token_hex(12)}"
        self._model = request.model
        self._request_id = request.request_id or None
        self._index = 0
        self._open: _Open = ""
        self._called = False
        self._delta = b""

    def event(self, event: Event) -> bytes:
        if type(event) is TextDelta:
            return self._piece("text", event.text)
        if type(event) is ReasoningDelta:
            return self._piece("thinking", event.text)
        if type(event) is ToolCall:
            return self._call(event)
        if type(event) is Start:
            return self._start(event)
        if type(event) is Finish:
            return self._end(event)
        return b""

    def whole(self, events: Sequence[Event]) -> bytes:
        blocks: list[dict[str, Any]] = []
        thoughts = "".join([event.text for event in events if type(event) is ReasoningDelta])
        if thoughts:
            blocks.append({"type": "thinking", "thinking": thoughts, "signature": ""})
        text = "".join([event.text for event in events if type(event) is TextDelta])
        if text:
            blocks.append({"type": "text", "text": text})
        calls = [_tool_use(event) for event in events if type(event) is ToolCall]
        self._called = bool(calls)
        finish = events[-1]
        assert type(finish) is Finish, "the engine's last event is Finish"
        message = self._message(blocks + calls, finish.prompt_tokens, finish.completion_tokens)
        return orjson.dumps(message | self._stop(finish))

    def error(self, status: int, message: str, code: str | None) -> bytes:
        envelope = errors.envelope("anthropic", status, message, code, self._request_id)
        return b"event: error\ndata: " + envelope + b"\n\n"

    def _message(self, content: list[dict[str, Any]], prompt: int, completion: int) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": prompt, "output_tokens": completion},
        }

    def _start(self, start: Start) -> bytes:
        return _sse("message_start", {"message": self._message([], start.prompt_tokens, 0)})

    def _piece(self, kind: Literal["text", "thinking"], text: str) -> bytes:
        if self._open == kind:
            return self._delta + orjson.dumps(text) + b"}}\n\n"
        begun = self._begin(
            kind, {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
        )
        self._delta = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"%b_delta","%b":' % (self._index, kind.encode(), kind.encode())
        )
        return begun + self._delta + orjson.dumps(text) + b"}}\n\n"

    def _begin(self, kind: _Open, block: dict[str, Any]) -> bytes:
        closed = self._close()
        self._open = kind
        return closed + _sse("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        closed = _sse("content_block_stop", {"index": self._index})
        self._open = ""
        self._index += 1
        return closed

    def _call(self, call: ToolCall) -> bytes:
        self._called = True
        begun = self._begin("", _tool_use(call) | {"input": {}})
        delta = {"type": "input_json_delta", "partial_json": orjson.dumps(call.arguments).decode()}
        whole = begun + _sse("content_block_delta", {"index": self._index, "delta": delta})
        whole += _sse("content_block_stop", {"index": self._index})
        self._index += 1
        return whole

    def _end(self, finish: Finish) -> bytes:
        usage = {"input_tokens": finish.prompt_tokens, "output_tokens": finish.completion_tokens}
        delta = {"delta": self._stop(finish), "usage": usage}
        return self._close() + _sse("message_delta", delta) + _sse("message_stop", {})

    def _stop(self, finish: Finish) -> dict[str, str | None]:
        if self._called:
            reason = "tool_use"
        elif finish.reason == "length":
            reason = "max_tokens"
        else:
            reason = "stop_sequence" if finish.stop_sequence else "end_turn"
        stopped = finish.stop_sequence if reason == "stop_sequence" else None
        return {"stop_reason": reason, "stop_sequence": stopped}


def count(tokens: int) -> bytes:
    return orjson.dumps({"input_tokens": tokens})


def _tool_use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _sse(name: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name} | fields))
