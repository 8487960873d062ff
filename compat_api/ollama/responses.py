"""Ollama's answers: one JSON object a line, or one in all (api-contract 2.1 and 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from compat_api import errors, timestamps
from compat_api.dialect import floats, ndjson
from compat_api.logprobs import entry
from compat_api.timestamps import nanoseconds
from inference.events import Embeddings, Event, Finish, ReasoningDelta, TextDelta
from inference.shown_token import Token
from inference.types import ChatRequest, EmbedRequest, ToolCall

Answer = Callable[[str], bytes]
"""done_reason -> body."""

_CHAT = (b'"message":{"role":"assistant","content":', b"}")
_GENERATE = (b'"response":', b"")
"""What stands around the text; the rest of /api/chat and /api/generate is the same."""


class Encoder:
    """`around` is what stands around the text: a message for /api/chat, a plain field for /api/generate."""

    def __init__(
        self, model: str, around: tuple[bytes, bytes], now: Callable[[], bytes] = timestamps.now
    ) -> None:
        self._now = now
        self._head = b'{"model":%b,"created_at":"' % orjson.dumps(model)
        before, self._after = around
        self._text = b'",' + before
        self._more = self._after + b',"done":false}\n'
        self._calls = 0

    def event(self, event: Event) -> bytes:
        if type(event) is TextDelta:
            return self._line(orjson.dumps(event.text))
        if type(event) is ReasoningDelta:
            return self._line(b'"","thinking":' + orjson.dumps(event.text))
        if type(event) is ToolCall:
            return self._line(b'"","tool_calls":' + orjson.dumps([self._call(event)]))
        if type(event) is Finish:
            return ndjson(self._object(b'""', b"true," + _ending(event)))
        return b""

    def whole(self, events: Sequence[Event]) -> bytes:
        fields = orjson.dumps("".join([event.text for event in events if type(event) is TextDelta]))
        thinking = "".join([event.text for event in events if type(event) is ReasoningDelta])
        if thinking:
            fields += b',"thinking":' + orjson.dumps(thinking)
        calls = [self._call(event) for event in events if type(event) is ToolCall]
        if calls:
            fields += b',"tool_calls":' + orjson.dumps(calls)
        finish = events[-1]
        assert type(finish) is Finish, "the engine's last event is Finish"
        return self._object(fields, b"true," + _ending(finish))

    def error(self, status: int, message: str, code: str | None) -> bytes:
        return ndjson(errors.envelope("ollama", status, message, code))

    def _line(self, fields: bytes) -> bytes:
        return b"".join((self._head, self._now(), self._text, fields, self._more))

    def _object(self, fields: bytes, done: bytes) -> bytes:
        return b'%b%b%b%b%b,"done":%b}' % (self._head, self._now(), self._text, fields, self._after, done)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        index, self._calls = self._calls, self._calls + 1
        return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": call.arguments}}

    def loaded(self, done_reason: str) -> bytes:
        """The answer to a request without a prompt."""
        return self._object(b'""', b'true,"done_reason":' + orjson.dumps(done_reason))


class LoggedEncoder(Encoder):
    """Each object also has the tokens of its text or thoughts, with their log probabilities."""

    def event(self, event: Event) -> bytes:
        tokens = event.tokens if isinstance(event, TextDelta | ReasoningDelta) else ()
        self._more = b'%b%b,"done":false}\n' % (self._after, _logprobs(tokens))
        return super().event(event)

    def whole(self, events: Sequence[Event]) -> bytes:
        shown = [event for event in events if isinstance(event, TextDelta | ReasoningDelta)]
        self._after += _logprobs([token for event in shown for token in event.tokens])
        return super().whole(events)


def _logprobs(tokens: Sequence[Token]) -> bytes:
    """The field, or nothing, as Go's omitempty has it."""
    return b',"logprobs":' + orjson.dumps([entry(token) for token in tokens]) if tokens else b""


def chat_encoder(request: ChatRequest) -> Encoder:
    return (LoggedEncoder if request.logprobs else Encoder)(request.model, _CHAT)


def generate_encoder(request: ChatRequest) -> Encoder:
    return (LoggedEncoder if request.logprobs else Encoder)(request.model, _GENERATE)


def chat_loaded(model: str) -> Answer:
    return Encoder(model, _CHAT).loaded


def generate_loaded(model: str) -> Answer:
    return Encoder(model, _GENERATE).loaded


def embeddings(request: EmbedRequest, result: Embeddings | None) -> bytes:
    """`result` is None when there was nothing to embed."""
    if result is None:
        return orjson.dumps({"model": request.model, "embeddings": []})
    figures = _omit_zero(
        total_duration=nanoseconds(result.total_s),
        load_duration=nanoseconds(result.start.load_s),
        prompt_eval_count=result.prompt_tokens,
    )
    vectors = [floats(vector) for vector in result.vectors]
    return orjson.dumps({"model": request.model, "embeddings": vectors} | figures)


def legacy_embedding(request: EmbedRequest, result: Embeddings | None) -> bytes:
    """The vector as the model's pooling gave it, not normalised (api-contract 3.2)."""
    if result is None:
        return orjson.dumps({"embedding": []})
    (unit,), (norm,) = result.vectors, result.norms
    return orjson.dumps({"embedding": [value * norm for value in floats(unit)]})


def _ending(finish: Finish) -> bytes:
    """The fields of the last object after `"done":true,`, without the braces."""
    context = {"context": finish.ids} if finish.ids else {}
    fields = {"done_reason": finish.reason, **context} | _omit_zero(
        total_duration=nanoseconds(finish.total_s),
        load_duration=nanoseconds(finish.load_s),
        prompt_eval_count=finish.prompt_tokens,
        prompt_eval_duration=nanoseconds(finish.prefill_s),
        eval_count=finish.completion_tokens,
        eval_duration=nanoseconds(finish.decode_s),
    )
    return orjson.dumps(fields)[1:-1]


def _omit_zero(**numbers: int) -> dict[str, Any]:
    """As Go's omitempty does."""
    return {name: number for name, number in numbers.items() if number}
