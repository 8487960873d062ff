"""A streamed answer of /v1/messages into events.

content_block_delta    text_delta and thinking_delta as they come, input_json_delta gathered
content_block_stop     the call is whole
message_start, _delta  usage, and why it ended; message_stop ends the answer
ping, and what else may come, says nothing
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from inference.backends.framing import SseEvents
from inference.backends.wire import Delta, Ended, WireError
from inference.backends.wire_json import call_of, count, error_of, mapping, object_of, text
from inference.events import ReasoningDelta, TextDelta
from inference.types import ChatRequest, ToolCall

_LENGTHS = frozenset({"max_tokens", "model_context_window_exceeded"})


class _Delta(Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Block(Struct):
    type: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    text: str | None = None
    thinking: str | None = None


class _Event(Struct):
    type: str | None = None
    index: int | None = None
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: Any = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class _Gathered:
    """A call whose input still comes."""

    def __init__(self, block: _Block) -> None:
        self.block = block
        self.written = ""


class AnthropicReader:
    def __init__(self, request: ChatRequest) -> None:
        self._events = SseEvents()
        self._shows_thoughts = request.think is not False
        self._one_call = not request.tool_choice.parallel
        self._calls: dict[int | None, _Gathered] = {}
        self._called = False
        self._broken: WireError | None = None
        self._usage: dict[str, Any] = {}
        self._reason: str | None = None
        self._stop_sequence = ""
        self._ended = False

    def feed(self, data: bytes) -> list[Delta | Ended]:
        return self._read(self._events.feed(data))

    def end(self) -> list[Delta | Ended]:
        events = self._read(self._events.end())
        if self._ended:
            return events
        if self._reason is None:
            raise WireError("its answer was cut off")
        return [*events, self._end()]

    def _read(self, payloads: list[bytes]) -> list[Delta | Ended]:
        events: list[Delta | Ended] = []
        for payload in payloads:
            if not self._ended and payload.strip() not in (b"", b"[DONE]"):
                events += self._event(payload)
        return events

    def _event(self, payload: bytes) -> list[Delta | Ended]:
        try:
            event = _decode(payload)
        except msgspec.DecodeError:
            said = error_of(object_of(payload))
            raise WireError(said or "its answer has an event of a shape that is not Anthropic's") from None
        if event.error or event.type == "error":
            raise WireError(error_of(object_of(payload)) or "an error without words")
        if event.type == "content_block_delta" and event.delta is not None:
            return self._delta(event.index, event.delta)
        if event.type == "content_block_start" and event.content_block is not None:
            return self._begun(event.index, event.content_block)
        if event.type == "content_block_stop":
            return [*self._whole(event.index)]
        if event.type == "message_start":
            self._usage |= mapping(mapping(event.message).get("usage"))
        elif event.type == "message_delta":
            self._told(event)
        elif event.type == "message_stop":
            return [self._end()]
        return []

    def _delta(self, index: int | None, delta: _Delta) -> list[Delta | Ended]:
        if delta.text:
            return [TextDelta(delta.text)]
        if delta.thinking:
            return [ReasoningDelta(delta.thinking)] if self._shows_thoughts else []
        if delta.partial_json and index in self._calls:
            self._calls[index].written += delta.partial_json
        return []

    def _begun(self, index: int | None, block: _Block) -> list[Delta | Ended]:
        if block.type == "tool_use":
            self._calls[index] = _Gathered(block)
            return []
        return self._delta(index, _Delta(text=block.text, thinking=block.thinking))

    def _whole(self, index: int | None) -> list[ToolCall]:
        call = self._calls.pop(index, None)
        if call is None or (self._called and self._one_call):
            return []
        block = call.block
        try:
            made = call_of(text(block.id), text(block.name), call.written or block.input)
        except WireError as error:  # the limit may have come in the middle, which is said later
            self._broken = error
            return []
        self._called = True
        return [made]

    def _told(self, event: _Event) -> None:
        told = {name: value for name, value in mapping(event.usage).items() if value is not None}
        self._usage |= told
        if event.delta is not None and event.delta.stop_reason:
            self._reason = event.delta.stop_reason
            self._stop_sequence = event.delta.stop_sequence or ""

    def _end(self) -> Ended:
        """Its input_tokens are those that no cache knew or keeps now; the prompt is all of them."""
        if self._broken is not None and self._reason not in _LENGTHS:
            raise self._broken
        self._ended = True
        usage = self._usage
        fresh, read = count(usage.get("input_tokens")), count(usage.get("cache_read_input_tokens"))
        kept = count(usage.get("cache_creation_input_tokens"))
        details = mapping(usage.get("output_tokens_details"))
        return Ended(
            reason="length" if self._reason in _LENGTHS else "stop",
            prompt_tokens=None if fresh is None else fresh + (read or 0) + (kept or 0),
            completion_tokens=count(usage.get("output_tokens")),
            reasoning_tokens=count(details.get("thinking_tokens")),
            cached_tokens=read,
            stop_sequence=self._stop_sequence,
        )
