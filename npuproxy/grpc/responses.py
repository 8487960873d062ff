"""Events into messages: a token each, and a last one with the figures."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from compat_api.request_log import RequestLog
from inference.events import Embeddings, Event, Finish, ReasoningDelta, Start, TextDelta
from inference.types import EmbedRequest, ToolCall
from npuproxy.grpc import ollama_proxy_pb2 as pb

LENGTH_BYTES: Final = 4
"""In front of each message: an engine step may bring several."""


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def messages(data: bytes) -> list[bytes]:
    """The messages of what `framed` made, one after the other."""
    found, at = [], 0
    while at < len(data):
        end = at + LENGTH_BYTES + int.from_bytes(data[at : at + LENGTH_BYTES], "big")
        found.append(data[at + LENGTH_BYTES : end])
        at = end
    return found


class Encoder:
    """Writes one answer; `log` knows its times."""

    def __init__(self, streamed: Any, whole: Callable[..., Any], log: RequestLog) -> None:
        """`streamed` is a message class, `whole` makes the message of an answer that is not streamed."""
        self._streamed = streamed
        self._whole = whole
        self._log = log
        self._start: Start | None = None
        self._first: dict[str, str] = {}

    def event(self, event: Event) -> bytes:
        if type(event) is TextDelta:
            return self._message(token=event.text)
        if type(event) is ReasoningDelta:
            return self._message(thinking=event.text)
        if type(event) is ToolCall:
            return self._message(tool_calls=[called(event)])
        if type(event) is Finish:
            return self._message(done=True, finish_reason=event.reason, **self._figures(event))
        if type(event) is Start:
            self._start = event
            self._first = {"backend_used": event.route.routed}
        return b""

    def _message(self, **fields: Any) -> bytes:
        if self._first:
            fields |= self._first
            self._first = {}
        return framed(self._streamed(**fields).SerializeToString())

    def whole(self, events: Sequence[Event]) -> bytes:
        start, finish = events[0], events[-1]
        assert type(start) is Start, "the engine's first event is Start"
        assert type(finish) is Finish, "the engine's last event is Finish"
        self._start = start
        message = self._whole(
            text="".join([event.text for event in events if type(event) is TextDelta]),
            thinking="".join([event.text for event in events if type(event) is ReasoningDelta]),
            calls=[called(event) for event in events if type(event) is ToolCall],
            backend_used=start.route.routed,
            finish_reason=finish.reason,
            **self._figures(finish),
        )
        encoded: bytes = message.SerializeToString()
        return encoded

    def error(self, status: int, message: str, code: str | None) -> bytes:
        """Nothing: a gRPC stream ends with its status."""
        return b""

    def _figures(self, finish: Finish) -> dict[str, Any]:
        assert self._start is not None, "the engine's first event is Start"
        return {
            "routing": routing(self._start),
            "stats": stats(self._start, finish, self._log.ttft_s or 0.0, self._log.elapsed_s()),
        }


def generated(text: str, calls: Sequence[pb.ToolCall], **fields: Any) -> pb.GenerateResponse:
    return pb.GenerateResponse(response=text, tool_calls=calls, **fields)


def chatted(text: str, thinking: str, calls: Sequence[pb.ToolCall], **fields: Any) -> pb.ChatResponse:
    said = pb.Message(role="assistant", content=text, thinking=thinking, tool_calls=calls)
    return pb.ChatResponse(message=said, **fields)


def called(call: ToolCall) -> pb.ToolCall:
    return pb.ToolCall(id=call.id, name=call.name, arguments=orjson.dumps(call.arguments).decode())


def routing(start: Start) -> pb.Routing:
    route = start.route
    seconds = route.estimated_s
    return pb.Routing(
        backend=route.routed,
        reason=route.reason,
        estimated_power_watts=route.estimated_watts,
        estimated_latency_ms=None if seconds is None else _whole_ms(seconds),
        alternatives=route.alternatives,
        requested=route.requested,
        executed=route.executed,
        fallback=route.fell_back,
        fallback_reason=route.fallback_reason,
        model=start.model_digest,
    )


def stats(start: Start, finish: Finish, ttft_s: float, total_s: float) -> pb.Stats:
    decode_s, tokens = finish.decode_s, finish.completion_tokens
    return pb.Stats(
        ttft_ms=_whole_ms(ttft_s),
        total_ms=_whole_ms(total_s),
        tokens=tokens,
        tokens_per_second=tokens / decode_s if decode_s > 0 else 0.0,
        energy_wh=_watt_hours(finish.energy_j),
        energy_source=finish.energy_source,
        prompt_tokens=finish.prompt_tokens,
        queue_ms=start.queue_s * 1000,
        load_ms=finish.load_s * 1000,
        reasoning_tokens=finish.reasoning_tokens,
        truncated_messages=start.truncated_messages,
    )


def _watt_hours(joules: float | None) -> float | None:
    return None if joules is None else joules / 3600


def _whole_ms(seconds: float) -> int:
    return min(round(seconds * 1000), 2**31 - 1)


def embedded(request: EmbedRequest, result: Embeddings | None) -> bytes:
    assert result is not None, "a request without a text is refused"
    vectors = [array("f", vector) for vector in result.vectors]
    several = [pb.Vector(values=vector) for vector in vectors] if len(vectors) > 1 else []
    message = pb.EmbedResponse(
        embedding=vectors[0],
        backend_used=result.start.route.routed,
        routing=routing(result.start),
        embeddings=several,
        stats=pb.Stats(
            total_ms=_whole_ms(result.total_s),
            energy_wh=_watt_hours(result.energy_j),
            energy_source=result.energy_source,
            prompt_tokens=result.prompt_tokens,
            queue_ms=result.start.queue_s * 1000,
            load_ms=result.start.load_s * 1000,
        ),
        truncated_tokens=result.truncated_tokens,
        cached=result.cached,
    )
    return message.SerializeToString()
