"""Answers with log probabilities, in the three shapes of OpenAI's endpoints (api-contract 6.2, 6.3 and 6.5).

Those of the content, not of thoughts and calls. The encoders without them do nothing for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from compat_api.logprobs import bounded, entry
from compat_api.openai.completions import NO_LOGPROBS, CompletionEncoder
from compat_api.openai.response_events import ResponseEncoder
from compat_api.openai.responses import DELTA_END, ChatEncoder
from inference.events import Event, TextDelta
from inference.shown_token import Token
from inference.types import ChatRequest


def _entries(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """The list of alternatives is always there, as OpenAI has it, and empty: the engine gives none."""
    return [entry(token) | {"top_logprobs": []} for token in tokens]


def _tokens_of(events: Sequence[Event]) -> list[Token]:
    return [token for event in events if isinstance(event, TextDelta) for token in event.tokens]


class LoggedChatEncoder(ChatEncoder):
    _tokens: tuple[Token, ...] = ()

    def event(self, event: Event) -> bytes:
        self._tokens = event.tokens if isinstance(event, TextDelta) else ()
        return super().event(event)

    def _delta(self, content: bytes) -> bytes:
        told = orjson.dumps(_chat_logprobs(self._tokens) if self._tokens else None)
        return super()._delta(content).removesuffix(DELTA_END) + b'},"logprobs":' + told + DELTA_END[1:]

    def choice(self, events: Sequence[Event]) -> dict[str, Any]:
        return super().choice(events) | {"logprobs": _chat_logprobs(_tokens_of(events))}


def _chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    return {"content": _entries(tokens), "refusal": None}


class LoggedCompletionEncoder(CompletionEncoder):
    _chars = 0
    """Of the text so far."""

    def event(self, event: Event) -> bytes:
        if not isinstance(event, TextDelta):
            return super().event(event)
        plain = self._chunk
        told = orjson.dumps(self._of([event]))
        self._chunk = b'%b"logprobs":%b,"text":' % (plain.removesuffix(NO_LOGPROBS), told)
        try:
            return super().event(event)
        finally:
            self._chunk = plain

    def choice(self, events: Sequence[Event]) -> dict[str, Any]:
        return super().choice(events) | {"logprobs": self._of(events)}

    def _of(self, events: Sequence[Event]) -> dict[str, Any]:
        tokens: list[Token] = []
        offsets: list[int] = []
        for event in events:
            if isinstance(event, TextDelta):
                tokens += event.tokens
                offsets += [self._chars + token.offset for token in event.tokens]
                self._chars += len(event.text)
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [bounded(token.logprob) for token in tokens],
            "text_offset": offsets,
            "top_logprobs": None,
        }


class LoggedResponseEncoder(ResponseEncoder):
    def event(self, event: Event) -> bytes:
        if not isinstance(event, TextDelta):
            return super().event(event)
        line = super().event(event)
        told = _entries(event.tokens)
        self._logprobs += told
        return line.removesuffix(b"}\n\n") + b',"logprobs":%b}\n\n' % orjson.dumps(told)

    def _open_message(self) -> bytes:
        begun = super()._open_message()
        self._delta = self._delta.removesuffix(b'"logprobs":[],')
        return begun


def chat_encoder(request: ChatRequest, **parts: Any) -> ChatEncoder:
    """`parts`: what choices of one answer share."""
    return (LoggedChatEncoder if request.logprobs else ChatEncoder)(request, **parts)


def completion_encoder(request: ChatRequest, **parts: Any) -> CompletionEncoder:
    return (LoggedCompletionEncoder if request.logprobs else CompletionEncoder)(request, **parts)


def response_encoder(request: ChatRequest) -> ResponseEncoder:
    return (LoggedResponseEncoder if request.logprobs else ResponseEncoder)(request)
