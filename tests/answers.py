"""Answers as an engine gives them, of any kind, and the official clients reading what the encoders make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anthropic
import httpx
import httpx2
import ollama
import openai
from hypothesis import strategies as st

from compat_api.dialect import Dialect, unbroken
from inference.events import Event, Finish, ReasoningDelta, Start, TextDelta
from inference.route_facts import Route
from inference.types import ChatRequest, ToolCall

ROUTE = Route(requested="NPU", routed="CPU", executed="CPU", reason="preferred")
START = Start(route=ROUTE, model_digest="ab", prompt_tokens=12, queue_s=0.0, load_s=0.25)
FINISH = Finish(
    reason="stop",
    prompt_tokens=12,
    completion_tokens=3,
    total_s=0.5,
    load_s=0.0,
    prefill_s=0.02,
    decode_s=0.07,
)
URL = "http://encoder.test"

_ODD = ("\n\n", "\r", "\r\n", "data: x", "event: y\n\n", "[DONE]", '"', "\\", "\x00", "\x1c", "\x0c", "\x85")
pieces = st.one_of(
    st.sampled_from((*_ODD, "\u2028", "\u2029", "😀", "e\u0301", "\ufeff", "</think>", "{}")),
    st.text(min_size=1, max_size=8),
)
_scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), pieces),
    st.floats(allow_nan=False, allow_infinity=False),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(pieces, inner, max_size=3),
    max_leaves=5,
)
_named = st.tuples(pieces, st.dictionaries(pieces, _values, max_size=3))
finishes = st.builds(
    Finish,
    reason=st.sampled_from(("stop", "length")),
    prompt_tokens=st.integers(1, 10**6),
    completion_tokens=st.integers(0, 10**6),
    total_s=st.floats(0, 1e6),
    load_s=st.floats(0, 1e3),
    prefill_s=st.floats(0, 1e6),
    decode_s=st.floats(0, 1e6),
)


def calls_of(named: Sequence[tuple[str, dict[str, Any]]]) -> list[ToolCall]:
    return [ToolCall(f"call_{index:08d}", name, given) for index, (name, given) in enumerate(named)]


def _answer(parts: Sequence[Any], finish: Finish) -> list[Event]:
    calls = iter(calls_of([part for part in parts if isinstance(part, tuple)]))
    return [START, *(next(calls) if isinstance(part, tuple) else part for part in parts), finish]


answers = st.builds(
    _answer,
    st.lists(st.one_of(pieces.map(TextDelta), pieces.map(ReasoningDelta), _named), max_size=8),
    finishes,
)
"""Start, any events in any order, Finish."""

turns = st.builds(
    lambda thoughts, said, named, finish: [START, *thoughts, *said, *calls_of(named), finish],
    st.lists(pieces.map(ReasoningDelta), max_size=2),
    st.lists(pieces.map(TextDelta), max_size=3),
    st.lists(_named, max_size=2),
    finishes,
)
"""As models write them: thoughts, then text, then calls."""


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thoughts_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def calls_in(events: Sequence[Event]) -> list[ToolCall]:
    return [event for event in events if isinstance(event, ToolCall)]


def finish_of(events: Sequence[Event]) -> Finish:
    finish = events[-1]
    assert isinstance(finish, Finish)
    return finish


def streamed(dialect: Dialect, request: ChatRequest, events: Sequence[Event]) -> bytes:
    """The bytes on the wire."""
    encoder = dialect.encoder(request)
    return b"".join(unbroken(encoder.event(event)) for event in events)


def whole(dialect: Dialect, request: ChatRequest, events: Sequence[Event]) -> bytes:
    return dialect.encoder(request).whole(events)


class Wire:
    """The official clients, unmodified; whatever they ask, they are answered with `body`."""

    def __init__(self) -> None:
        self.body, self.kind = b"", b""
        http = httpx2.Client(transport=httpx2.MockTransport(self._answer2))
        self.openai = openai.OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0, http_client=http)
        self.anthropic = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=0, http_client=http)
        self.ollama = ollama.Client(URL, transport=httpx.MockTransport(self._answer))

    def gives(self, dialect: Dialect, body: bytes, stream: bool) -> Wire:
        self.body, self.kind = body, dialect.stream_type if stream else dialect.whole_type
        return self

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return httpx.Response(200, headers={"Content-Type": self.kind.decode()}, content=self.body)

    def _answer2(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        return httpx2.Response(200, headers={"Content-Type": self.kind.decode()}, content=self.body)


def request_of(include_usage: bool = False, kind: type[ChatRequest] = ChatRequest) -> ChatRequest:
    return kind(model="Demo", messages=(), stream=True, include_usage=include_usage)
