"""The answers of /v1/responses: one object, or a stream in which each output item is opened, grown and closed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson

from compat_api.openai.custom_tools import text_of
from compat_api.openai.response_requests import ResponsesRequest
from inference.events import Event, Finish, ReasoningDelta, Start, TextDelta
from inference.types import ChatRequest, ToolCall

_ALWAYS: Final[dict[str, Any]] = {
    "error": None,
    "previous_response_id": None,
    "truncation": "disabled",
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
}


class ResponseEncoder:
    """One response. `sequence_number` counts its events; one output item is open at a time."""

    def __init__(self, request: ChatRequest, *, answer_id: str = "", created: int = 0) -> None:
        self._echo = request.echo if isinstance(request, ResponsesRequest) else {}
        self._customs = request.customs if isinstance(request, ResponsesRequest) else {}
        self._spaces = request.spaces if isinstance(request, ResponsesRequest) else {}
        self._id = answer_id or f"resp_{secrets.token_hex(24)}"
        self._created = created or int(time.time())
        self._model = request.model
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        self._parts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        """Of the open message, where they are wanted."""
        self._delta = b""

    def event(self, event: Event) -> bytes:
        if type(event) is TextDelta:
            return self._piece("message", event.text)
        if type(event) is ReasoningDelta:
            return self._piece("reasoning", event.text)
        if type(event) is ToolCall:
            return self._call(event)
        if type(event) is Start:
            response = self._response("in_progress", None)
            return self._sse("response.created", {"response": response}) + self._sse(
                "response.in_progress", {"response": response}
            )
        if type(event) is Finish:
            return self._end(event)
        return b""

    def whole(self, events: Sequence[Event]) -> bytes:
        for event in events[:-1]:
            self.event(event)
        finish = events[-1]
        assert type(finish) is Finish, "the engine's last event is Finish"
        self._close(finish)
        return orjson.dumps(self._response(_status(finish), finish))

    def error(self, status: int, message: str, code: str | None) -> bytes:
        """As OpenAI ends such a stream: its libraries look at the first, Codex tells the words of the second."""
        fault = {"code": code or "server_error", "message": message}
        failed = self._response("failed", None) | {"error": fault}
        return self._sse("error", fault | {"param": None}) + self._sse(
            "response.failed", {"response": failed}
        )

    # --- items ------------------------------------------------------------------------------------------------

    def _piece(self, kind: str, text: str) -> bytes:
        begun = b""
        if self._open is None or self._open["type"] != kind:
            begun = self._close() + (self._open_message() if kind == "message" else self._open_reasoning())
        self._parts.append(text)
        sequence, self._sequence = self._sequence, self._sequence + 1
        return b'%b%b"sequence_number":%d,"delta":%b}\n\n' % (
            begun,
            self._delta,
            sequence,
            orjson.dumps(text),
        )

    def _open_message(self) -> bytes:
        item = {
            "id": f"msg_{secrets.token_hex(24)}",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        begun = self._begin(item)
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        begun += self._sse("response.content_part.added", self._at(item) | {"content_index": 0, "part": part})
        self._delta = _delta_head(
            "response.output_text.delta", self._at(item) | {"content_index": 0, "logprobs": []}
        )
        return begun

    def _open_reasoning(self) -> bytes:
        item: dict[str, Any] = {
            "id": f"rs_{secrets.token_hex(24)}",
            "type": "reasoning",
            "summary": [],
            "encrypted_content": None,
            "status": "in_progress",
        }
        begun = self._begin(item)
        part = {"type": "summary_text", "text": ""}
        begun += self._sse(
            "response.reasoning_summary_part.added", self._at(item) | {"summary_index": 0, "part": part}
        )
        self._delta = _delta_head(
            "response.reasoning_summary_text.delta", self._at(item) | {"summary_index": 0}
        )
        return begun

    def _begin(self, item: dict[str, Any]) -> bytes:
        self._open, self._parts, self._logprobs = item, [], []
        return self._sse("response.output_item.added", {"output_index": len(self._output), "item": item})

    def _close(self, finish: Finish | None = None) -> bytes:
        """What ends the open item; b'' when none is."""
        item, self._open = self._open, None
        if item is None:
            return b""
        text, at = "".join(self._parts), self._at(item)
        item["status"] = _status(finish) if finish else "completed"
        if item["type"] == "message":
            told = self._logprobs
            part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": [], "logprobs": told}
            item["content"] = [part]
            at["content_index"] = 0
            done = self._sse("response.output_text.done", at | {"text": text, "logprobs": told})
            done += self._sse("response.content_part.done", at | {"part": part})
        else:
            part = {"type": "summary_text", "text": text}
            item["summary"] = [part]
            at["summary_index"] = 0
            done = self._sse("response.reasoning_summary_text.done", at | {"text": text})
            done += self._sse("response.reasoning_summary_part.done", at | {"part": part})
        return done + self._keep(item)

    def _keep(self, item: dict[str, Any]) -> bytes:
        done = self._sse("response.output_item.done", {"output_index": len(self._output), "item": item})
        self._output.append(item)
        return done

    def _custom_call(self, call: ToolCall) -> bytes:
        closed, text = self._close(), text_of(call)
        item = {
            "id": f"ctc_{secrets.token_hex(24)}",
            "type": "custom_tool_call",
            "status": "in_progress",
            "call_id": call.id,
            "name": call.name,
            "input": "",
        }
        begun, at = self._begin(item), self._at(item)
        grown = self._sse("response.custom_tool_call_input.delta", at | {"delta": text})
        grown += self._sse("response.custom_tool_call_input.done", at | {"input": text})
        self._open = None
        return closed + begun + grown + self._keep(item | {"status": "completed", "input": text})

    def _call(self, call: ToolCall) -> bytes:
        if call.name in self._customs:
            return self._custom_call(call)
        closed = self._close()
        arguments = orjson.dumps(call.arguments).decode()
        space, name = self._spaces.get(call.name, ("", call.name))
        item = {
            "id": f"fc_{secrets.token_hex(24)}",
            "type": "function_call",
            "status": "in_progress",
            "call_id": call.id,
            "name": name,
            "arguments": "",
        }
        if space:
            item["namespace"] = space
        begun = self._begin(item)
        at = self._at(item)
        grown = self._sse("response.function_call_arguments.delta", at | {"delta": arguments})
        grown += self._sse(
            "response.function_call_arguments.done", at | {"arguments": arguments, "name": name}
        )
        self._open = None
        return closed + begun + grown + self._keep(item | {"status": "completed", "arguments": arguments})

    def _at(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"item_id": item["id"], "output_index": len(self._output)}

    # --- the response -----------------------------------------------------------------------------------------

    def _end(self, finish: Finish) -> bytes:
        closed = self._close(finish)
        status = _status(finish)
        return closed + self._sse(f"response.{status}", {"response": self._response(status, finish)})

    def _response(self, status: str, finish: Finish | None) -> dict[str, Any]:
        cut = status == "incomplete"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "model": self._model,
            "output": list(self._output),
            **_ALWAYS,
            **self._echo,
            "usage": _usage(finish) if finish else None,
        }

    def _sse(self, name: str, fields: dict[str, Any]) -> bytes:
        sequence, self._sequence = self._sequence, self._sequence + 1
        data = orjson.dumps({"type": name, "sequence_number": sequence} | fields)
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _delta_head(name: str, fields: dict[str, Any]) -> bytes:
    """All of a delta that stays the same, up to the number and the text."""
    head = orjson.dumps({"type": name} | fields)[:-1]
    return b"event: %b\ndata: %b," % (name.encode(), head)


def _status(finish: Finish) -> str:
    return "incomplete" if finish.reason == "length" else "completed"


def _usage(finish: Finish) -> dict[str, Any]:
    """Which tokens came from a cache is not known, and 0 is what the field's type leaves."""
    return {
        "input_tokens": finish.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": finish.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": finish.reasoning_tokens},
        "total_tokens": finish.prompt_tokens + finish.completion_tokens,
    }
