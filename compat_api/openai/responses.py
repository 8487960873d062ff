"""OpenAI's answers: SSE chunks, or one object (api-contract 6.2 and 6.4)."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Sequence
from typing import Any

import orjson

from compat_api import errors
from compat_api.dialect import floats, sse
from compat_api.openai.custom_tools import CustomToolsRequest, chat_call
from inference.events import Embeddings, Event, Finish, ReasoningDelta, TextDelta
from inference.types import ChatRequest, EmbedRequest, ToolCall

DONE = sse(b"[DONE]")
DELTA_END = b'},"finish_reason":null}]}\n\n'
FINGERPRINT = "fp_ollama"


class AnswerEncoder:
    """What one choice and several have in common; `head`: the JSON of a chunk's first fields, without its end."""

    def __init__(self, head: bytes, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._tail = b"data: " + head + b',"choices":[],"usage":'

    def choice(self, events: Sequence[Event]) -> dict[str, Any]:
        raise NotImplementedError

    def object(self, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> bytes:
        raise NotImplementedError

    def whole(self, events: Sequence[Event]) -> bytes:
        return self.object([self.choice(events)], usage_of([finish_of(events)]))

    def tail(self, usage: dict[str, int]) -> bytes:
        """What ends the stream."""
        told = b"%b%b}\n\n" % (self._tail, orjson.dumps(usage)) if self._include_usage else b""
        return told + DONE

    def error(self, status: int, message: str, code: str | None) -> bytes:
        return sse(errors.envelope("openai", status, message, code))


class ChatEncoder(AnswerEncoder):
    """chat.completion and its chunks. The role is on a choice's first chunk only; all share id and created."""

    def __init__(
        self, request: ChatRequest, *, answer_id: str = "", created: int = 0, index: int = 0
    ) -> None:
        self._index = index
        self._customs = request.customs if isinstance(request, CustomToolsRequest) else {}
        self._id = answer_id or f"chatcmpl-{secrets.token_hex(12)}"
        self._created = created or int(time.time())
        self._model = request.model
        head = orjson.dumps(self._head("chat.completion.chunk"))[:-1]
        self._chunk = b'data: %b,"choices":[{"index":%d,"delta":{' % (head, index)
        super().__init__(head, request.include_usage)
        self._role = b'"role":"assistant",'
        self._calls = 0

    def event(self, event: Event) -> bytes:
        if type(event) is TextDelta:
            return self._delta(orjson.dumps(event.text))
        if type(event) is ReasoningDelta:
            return self._delta(b'"","reasoning":' + orjson.dumps(event.text))
        if type(event) is ToolCall:
            return self._delta(b'"","tool_calls":' + orjson.dumps([self._call(event)]))
        if type(event) is Finish:
            return self.last(event) + self.tail(usage_of([event]))
        return b""

    def _delta(self, content: bytes) -> bytes:
        role, self._role = self._role, b""
        return b"".join((self._chunk, role, b'"content":', content, DELTA_END))

    def last(self, finish: Finish) -> bytes:
        """The chunk that ends the choice."""
        first = self._delta(b'""') if self._role else b""
        return first + b'%b},"finish_reason":%b}]}\n\n' % (self._chunk, orjson.dumps(self._reason(finish)))

    def choice(self, events: Sequence[Event]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": joined(events, TextDelta)}
        reasoning = joined(events, ReasoningDelta)
        if reasoning:
            message["reasoning"] = reasoning
        calls = [self._call(event) for event in events if type(event) is ToolCall]
        if calls:
            message["tool_calls"] = calls
        return {"index": self._index, "message": message, "finish_reason": self._reason(finish_of(events))}

    def object(self, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> bytes:
        return orjson.dumps(self._head("chat.completion") | {"choices": choices, "usage": usage})

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": FINGERPRINT,
        }

    def _call(self, call: ToolCall) -> dict[str, Any]:
        index, self._calls = self._calls, self._calls + 1
        if call.name in self._customs:
            return {"id": call.id, "index": index} | chat_call(call, self._customs[call.name])
        function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
        return {"id": call.id, "index": index, "type": "function", "function": function}

    def _reason(self, finish: Finish) -> str:
        return "tool_calls" if self._calls and finish.reason == "stop" else finish.reason


def embeddings(request: EmbedRequest, result: Embeddings | None) -> bytes:
    """`result` is None when there was nothing to embed, which parse_embeddings never lets through."""
    vectors = result.vectors if result else ()
    tokens = result.prompt_tokens if result else 0
    data = [
        {"object": "embedding", "embedding": _encoded(vector, request.encoding), "index": index}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": request.model, "usage": usage})


def _encoded(vector: bytes, encoding: str) -> str | list[float]:
    return base64.b64encode(vector).decode() if encoding == "base64" else floats(vector)


def joined(events: Sequence[Event], kind: type[TextDelta] | type[ReasoningDelta]) -> str:
    return "".join([event.text for event in events if isinstance(event, kind)])


def finish_of(events: Sequence[Event]) -> Finish:
    finish = events[-1]
    assert type(finish) is Finish, "the engine's last event is Finish"
    return finish


def usage_of(ends: Sequence[Finish], choices: int = 1) -> dict[str, int]:
    """Of all answers together; a prompt with several choices counts once."""
    prompt = sum(finish.prompt_tokens for finish in ends[::choices])
    completion = sum(finish.completion_tokens for finish in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
