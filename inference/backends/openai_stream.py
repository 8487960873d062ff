"""A streamed answer of /v1/chat/completions or /v1/completions into events, as OpenAI and those who copy it write it.

delta.content, choices[].text                  text; a refusal is text too
delta.reasoning_content (vLLM, llama-server,   thoughts
  LM Studio, OpenVINO), delta.reasoning
delta.tool_calls                               gathered by their index until the call is whole
usage                                          in a chunk of its own, or in the last one
{"error": …}, {"object": "error"}              WireError
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from inference.backends.framing import SseEvents
from inference.backends.wire import Delta, Ended, WireError
from inference.backends.wire_json import call_of, count, error_of, mapping, object_of, text
from inference.backends.wire_tokens import WaitingTokens
from inference.events import Event, FinishReason, ReasoningDelta, TextDelta
from inference.output_parser import OutputParser
from inference.types import ChatRequest, ToolCall

_LENGTHS = frozenset({"length", "max_tokens"})
_FAILURES = frozenset({"error", "abort"})


class _Function(Struct):
    name: str | None = None
    arguments: Any = None


class _Call(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: Any = None
    reasoning_content: str | None = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    """Of a server that does not stream."""
    text: str | None = None
    logprobs: Any = None
    finish_reason: str | None = None
    stop_reason: Any = None
    matched_stop: Any = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class _Gathered:
    """A call whose arguments still come."""

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.written: str | dict[str, Any] = ""


class OpenAiReader:
    def __init__(self, request: ChatRequest) -> None:
        self._events = SseEvents()
        self._shows_thoughts = request.think is not False
        self._one_call = not request.tool_choice.parallel
        self._logprobs = request.logprobs
        self._tokens = WaitingTokens()
        self._call: _Gathered | None = None
        self._called = False
        self._stops = _stops(request)
        self._reason: FinishReason | None = None
        self._stop_sequence = ""
        self._usage: dict[str, Any] = {}
        self._ended = False

    def feed(self, data: bytes) -> list[Delta | Ended]:
        events: list[Delta | Ended] = []
        for payload in self._events.feed(data):
            events += self._event(payload)
        return events

    def end(self) -> list[Delta | Ended]:
        events: list[Delta | Ended] = []
        for payload in self._events.end():
            events += self._event(payload)
        if self._ended:
            return events
        if self._reason is None:
            raise WireError("its answer was cut off")
        return [*events, *self._finish()]  # without [DONE], which some leave out

    def _event(self, payload: bytes) -> list[Delta | Ended]:
        if self._ended or not payload.strip():
            return []
        if payload.strip() == b"[DONE]":
            called = self._stopped("stop") if self._reason is None else []
            return [*called, *self._finish()]
        try:
            chunk = _decode(payload)
        except msgspec.DecodeError:
            return self._odd(payload)
        if chunk.error or chunk.object == "error":
            raise WireError(error_of(object_of(payload)) or "an error without words")
        if chunk.usage:
            self._usage = mapping(chunk.usage)
        events: list[Delta | Ended] = []
        for choice in chunk.choices or ():
            if not choice.index:  # one was asked for
                events += self._choice(choice)
        return events

    def _odd(self, payload: bytes) -> list[Delta | Ended]:
        """An object of another shape: an error, or what is not in this API."""
        value = object_of(payload)
        raise WireError(error_of(value) or "its answer has a chunk of a shape that is not OpenAI's")

    def _choice(self, choice: _Choice) -> list[Delta | Ended]:
        delta = choice.delta or choice.message
        if self._logprobs:
            self._tokens.add(mapping(choice.logprobs).get("content"))
        events: list[Delta | Ended] = []
        if delta is not None:
            events += self._said(delta)
            for call in delta.tool_calls or ():
                events += self._part(call)
        elif choice.text:
            events += self._shown(choice.text)
        if choice.finish_reason:
            self._stop_sequence = text(choice.stop_reason) or text(choice.matched_stop)
            events += self._stopped(choice.finish_reason)
        return events

    def _said(self, delta: _Delta) -> list[Delta]:
        events: list[Delta] = []
        thoughts = delta.reasoning_content or text(delta.reasoning)
        if thoughts:
            shown = self._tokens.of(thoughts)
            if self._shows_thoughts:
                events.append(ReasoningDelta(thoughts, shown))
        said = _text(delta.content) + (delta.refusal or "")
        return [*events, *self._shown(said)] if said else events

    def _shown(self, said: str) -> list[TextDelta]:
        if self._stops is None:
            return [TextDelta(said, self._tokens.of(said))]
        return self._without_stop([] if self._stops.done else self._stops.push([said]))

    def _without_stop(self, events: list[Event]) -> list[TextDelta]:
        texts = [event.text for event in events if isinstance(event, TextDelta)]
        return [TextDelta(said, self._tokens.of(said)) for said in texts]

    def _part(self, part: _Call) -> list[ToolCall]:
        """A piece of a call; one that is whole now because the next begins."""
        function = part.function or _Function()
        call, whole = self._call, list[ToolCall]()
        if call is None or _begins(part, function, call):
            whole = self._whole()
            call = self._call = _Gathered(part.index)
        call.id = call.id or part.id or ""
        call.name = call.name or function.name or ""
        if isinstance(function.arguments, str) and isinstance(call.written, str):
            call.written += function.arguments
        elif isinstance(function.arguments, dict):
            call.written = function.arguments
        return whole

    def _whole(self) -> list[ToolCall]:
        call, self._call = self._call, None
        if call is None or (self._called and self._one_call):
            return []
        self._called = True
        return [call_of(call.id, call.name, call.written)]

    def _stopped(self, reason: str) -> list[Delta | Ended]:
        if reason in _FAILURES:
            raise WireError(f"its answer ended with finish_reason {reason!r}")
        self._reason = "length" if reason in _LENGTHS else "stop"
        events: list[Delta | Ended] = []
        if self._stops is not None and not self._stops.done:
            events += self._without_stop(self._stops.finish())
        try:
            return [*events, *self._whole()]
        except WireError:
            if self._reason == "stop":
                raise
            return events  # the limit came in the middle of the call, which `length` says

    def _finish(self) -> list[Delta | Ended]:
        assert self._reason is not None
        self._ended = True
        usage = self._usage
        ended = Ended(
            reason=self._reason,
            prompt_tokens=count(usage.get("prompt_tokens")),
            completion_tokens=count(usage.get("completion_tokens")),
            reasoning_tokens=count(mapping(usage.get("completion_tokens_details")).get("reasoning_tokens")),
            cached_tokens=count(mapping(usage.get("prompt_tokens_details")).get("cached_tokens")),
            stop_sequence=(self._stops and self._stops.stop_sequence) or self._stop_sequence,
        )
        return [ended]


def _stops(request: ChatRequest) -> OutputParser | None:
    """OpenVINO Model Server streams the stop string with the text before it; the others stop in time."""
    stop = request.sampling.stop
    return OutputParser(thinking=False, starts_in_thinking=False, tools=(), stop=stop) if stop else None


def _begins(part: _Call, function: _Function, call: _Gathered) -> bool:
    """Whether it is of another call than the one before. Some servers number every call 0, some give no number."""
    if part.index is not None and part.index != call.index:
        return True
    return bool(part.id and part.id != call.id and function.name)


def _text(content: object) -> str:
    """A string, or parts that have one, as Mistral writes them beside its thoughts."""
    if isinstance(content, list):
        return "".join(text(part.get("text")) for part in content if isinstance(part, dict))
    return text(content)
