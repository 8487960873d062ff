"""OpenAI's /v1/completions: a prompt without turns (api-contract 6.3). As with Ollama a text is a user's turn; token
ids are the whole prompt."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import structs

from compat_api.decoding import BodyDecoder
from compat_api.dialect import Several
from compat_api.openai import prompts
from compat_api.openai.choices import several
from compat_api.openai.requests import GenerationBody, sampling_of
from compat_api.openai.responses import FINGERPRINT, AnswerEncoder, finish_of, joined, usage_of
from compat_api.refusals import refuse, require_model
from inference.errors import BadRequest
from inference.events import Event, Finish, TextDelta
from inference.tokenizer import TextCodec
from inference.types import ChatRequest, Message


class CompletionBody(GenerationBody):
    prompt: Any = None
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None
    logprobs: int | None = None


class CompletionRequest(ChatRequest, frozen=True, kw_only=True):
    echo: str = ""
    """What stands before the answer in the text."""
    echo_ids: bool = False
    """`echo` is the text of the ids, which only the model's tokenizer knows."""


_MOST_TOP = 5
NO_LOGPROBS = b'"logprobs":null,"text":'
"""How a chunk goes on to its text where none are wanted."""

_decode = BodyDecoder(CompletionBody, "CompletionRequest", "EOF")


def parse_completion(body: bytes) -> ChatRequest | Several:
    wire = _decode(body)
    _check_logprobs(wire)
    ranked = (wire.best_of or 1) != (wire.n or 1) and wire.best_of is not None
    refuse("best_of", ranked, "answers are not ranked here; leave it out, or send the same number as n")
    request = CompletionRequest(
        model=require_model(wire.model),
        messages=(),
        think=False,
        suffix=wire.suffix or "",
        sampling=sampling_of(wire),
        logprobs=wire.logprobs is not None,
        stream=bool(wire.stream),
        include_usage=wire.wants_usage,
    )
    return several([_of(request, prompt, bool(wire.echo)) for prompt in prompts.read(wire.prompt)], wire.n)


def _check_logprobs(wire: CompletionBody) -> None:
    if not 0 <= (wire.logprobs or 0) <= _MOST_TOP:
        raise BadRequest(f"logprobs must be between 0 and {_MOST_TOP}", "logprobs")
    refuse(
        "logprobs",
        wire.logprobs,
        "the engine gives no alternatives to the chosen token; send 0 for the chosen one's log probability",
    )
    refuse(
        "echo",
        wire.echo and wire.logprobs is not None,
        "the prompt's tokens have no log probabilities here; leave out echo or logprobs",
    )


def _of(request: CompletionRequest, prompt: prompts.Prompt, echo: bool) -> CompletionRequest:
    if isinstance(prompt, str):
        turn = (Message(role="user", content=prompt),)
        return structs.replace(request, messages=turn, echo=prompt if echo else "")
    refuse("suffix", request.suffix, "goes with a prompt that is a text")
    return structs.replace(request, raw=True, before=prompt, echo_ids=echo)


async def with_texts(parsed: ChatRequest | Several, codec: TextCodec) -> ChatRequest | Several:
    """The same with the texts of the prompts that came as ids, where they are to be shown."""
    if isinstance(parsed, Several):
        return structs.replace(parsed, requests=tuple([await _shown(one, codec) for one in parsed.requests]))
    return await _shown(parsed, codec)


async def _shown(request: ChatRequest, codec: TextCodec) -> ChatRequest:
    if isinstance(request, CompletionRequest) and request.echo_ids:
        return structs.replace(request, echo=await prompts.text_of(request.before, codec))
    return request


class CompletionEncoder(AnswerEncoder):
    """text_completion: whole, and chunks of the same name, the last of which says why it ended."""

    def __init__(
        self, request: ChatRequest, *, answer_id: str = "", created: int = 0, index: int = 0
    ) -> None:
        self._echo = request.echo if isinstance(request, CompletionRequest) else ""
        self._index = index
        self._head = {
            "id": answer_id or f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": created or int(time.time()),
            "model": request.model,
            "system_fingerprint": FINGERPRINT,
        }
        head = orjson.dumps(self._head)[:-1]
        self._chunk = b'data: %b,"choices":[{"index":%d,%b' % (head, index, NO_LOGPROBS)
        super().__init__(head, request.include_usage)

    def event(self, event: Event) -> bytes:
        if type(event) is TextDelta:
            return self._text(event.text, b"null")
        if type(event) is Finish:
            return self.last(event) + self.tail(usage_of([event]))
        return b""

    def last(self, finish: Finish) -> bytes:
        return self._text("", orjson.dumps(finish.reason))

    def _text(self, text: str, reason: bytes) -> bytes:
        echo, self._echo = self._echo, ""
        return b'%b%b,"finish_reason":%b}]}\n\n' % (self._chunk, orjson.dumps(echo + text), reason)

    def choice(self, events: Sequence[Event]) -> dict[str, Any]:
        return {
            "text": self._echo + joined(events, TextDelta),
            "index": self._index,
            "logprobs": None,
            "finish_reason": finish_of(events).reason,
        }

    def object(self, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> bytes:
        return orjson.dumps(self._head | {"choices": choices, "usage": usage})
