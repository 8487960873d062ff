"""/v1/tokenize and /v1/detokenize, as vLLM has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
from msgspec import Struct, structs

from compat_api.decoding import BodyDecoder
from compat_api.dialect import Several
from compat_api.openai.requests import parse_chat
from compat_api.refusals import refuse, require_model
from inference import token_ids
from inference.errors import BadRequest
from inference.types import ChatRequest


class TokenizeBody(Struct):
    model: str | None = None
    prompt: str | None = None
    messages: Any = None
    tools: Any = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template: str | None = None
    return_token_strs: bool | None = None
    reasoning_effort: str | None = None


class DetokenizeBody(Struct):
    model: str | None = None
    tokens: list[int] | None = None


class Tokenize(Struct, frozen=True):
    """`chat` has messages, or `prompt` is the text."""

    chat: ChatRequest
    prompt: str
    special: bool
    names: bool


_decode = BodyDecoder(TokenizeBody, "TokenizeRequest", "EOF")
_decode_detokenize = BodyDecoder(DetokenizeBody, "DetokenizeRequest", "EOF")


def parse_tokenize(body: bytes) -> Tokenize:
    wire = _decode(body)
    model = require_model(wire.model)
    refuse(
        "chat_template",
        wire.chat_template,
        "is the model's own here; make a model with another by /api/create",
    )
    refuse("continue_final_message", wire.continue_final_message, "answers are not continued here")
    if (wire.prompt is None) == (wire.messages is None):
        raise BadRequest('give "prompt" or "messages"', "prompt")
    chat = ChatRequest(model=model, messages=())
    if wire.messages is not None:
        fields = {
            name: getattr(wire, name)
            for name in ("model", "messages", "tools", "reasoning_effort")
            if getattr(wire, name) is not None
        }
        parsed = parse_chat(msgspec.json.encode(fields))
        assert not isinstance(parsed, Several), "no n was asked for"
        chat = structs.replace(parsed, closed=wire.add_generation_prompt is False)
    return Tokenize(
        chat, wire.prompt or "", wire.add_special_tokens is not False, bool(wire.return_token_strs)
    )


def tokenized(ids: Sequence[int], context_length: int, names: Sequence[str] | None) -> bytes:
    return orjson.dumps(
        {"count": len(ids), "max_model_len": context_length, "tokens": list(ids), "token_strs": names}
    )


def parse_detokenize(body: bytes) -> tuple[str, list[int]]:
    wire = _decode_detokenize(body)
    model = require_model(wire.model)
    if wire.tokens is None:
        raise BadRequest('"tokens": give a list of token ids', "tokens")
    token_ids.check_number(len(wire.tokens), "tokens")
    return model, wire.tokens


def detokenized(text: str) -> bytes:
    return orjson.dumps({"prompt": text})
