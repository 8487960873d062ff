"""A streamed answer of /api/chat or /api/generate into events: one JSON object a line, `done` on the last."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from inference.backends.framing import Lines
from inference.backends.wire import Delta, Ended, WireError
from inference.backends.wire_json import call_of, count, error_of, mapping, object_of, text
from inference.backends.wire_tokens import WaitingTokens
from inference.events import ReasoningDelta, TextDelta
from inference.types import ChatRequest, ToolCall

_SECOND = 1e9


class _Message(Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Line(Struct):
    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    logprobs: Any = None
    done: bool | None = None
    done_reason: str | None = None
    load_duration: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode


class OllamaReader:
    def __init__(self, request: ChatRequest) -> None:
        self._lines = Lines()
        self._shows_thoughts = request.think is not False
        self._one_call = not request.tool_choice.parallel
        self._logprobs = request.logprobs
        self._tokens = WaitingTokens()
        self._called = False
        self._ended = False

    def feed(self, data: bytes) -> list[Delta | Ended]:
        return self._read(self._lines.feed(data))

    def end(self) -> list[Delta | Ended]:
        events = self._read(self._lines.end())
        if not self._ended:
            raise WireError("its answer was cut off")
        return events

    def _read(self, lines: list[bytes]) -> list[Delta | Ended]:
        events: list[Delta | Ended] = []
        for line in lines:
            if not self._ended and line.strip():
                events += self._line(line)
        return events

    def _line(self, payload: bytes) -> list[Delta | Ended]:
        try:
            line = _decode(payload)
        except msgspec.DecodeError:
            words = error_of(object_of(payload))
            raise WireError(words or "its answer has a line of a shape that is not Ollama's") from None
        if line.error:
            raise WireError(error_of(object_of(payload)) or "an error without words")
        if self._logprobs:
            self._tokens.add(line.logprobs)
        said = line.message or _Message(line.response, line.thinking, line.tool_calls)
        events: list[Delta | Ended] = []
        if said.thinking:
            shown = self._tokens.of(said.thinking)
            if self._shows_thoughts:
                events.append(ReasoningDelta(said.thinking, shown))
        if said.content:
            events.append(TextDelta(said.content, self._tokens.of(said.content)))
        for call in said.tool_calls or ():
            events += self._call(call)
        if line.done:
            events.append(self._end(line))
        return events

    def _call(self, given: dict[str, Any]) -> list[ToolCall]:
        if self._called and self._one_call:
            return []
        self._called = True
        function = mapping(given.get("function"))
        return [call_of(text(given.get("id")), text(function.get("name")), function.get("arguments"))]

    def _end(self, line: _Line) -> Ended:
        self._ended = True
        loaded = count(line.load_duration)
        return Ended(
            reason="length" if line.done_reason == "length" else "stop",
            prompt_tokens=count(line.prompt_eval_count),
            completion_tokens=count(line.eval_count),
            load_s=None if loaded is None else loaded / _SECOND,
        )
