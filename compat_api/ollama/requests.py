"""Ollama's bodies into ChatRequest, Preload and EmbedRequest (api-contract 1.5, 2 and 3.1)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from compat_api import images, logprobs
from compat_api.decoding import NULL, BodyDecoder, quoted, raw_text
from compat_api.dialect import Preload
from compat_api.efforts import THINK_LEVELS
from compat_api.keep_alive import keep_alive_s
from compat_api.ollama import responses
from compat_api.ollama.options import read_options
from compat_api.refusals import refuse, refuse_many, require_model
from compat_api.tools import WireTool, read_tools, role_name, with_tool_names
from inference.errors import BadRequest, ModelNotFound
from inference.types import (
    ChatRequest,
    Constraint,
    EmbedRequest,
    LoadRequest,
    Message,
    Placement,
    ToolCall,
)

EMPTY_BODY = "missing request body"


class CalledFunction(Struct):
    name: str | None = None
    arguments: dict[str, Any] | None = None


class WireToolCall(Struct):
    id: str | None = None
    function: CalledFunction | None = None


class WireMessage(Struct):
    role: str | None = None
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class GenerationBody(Struct):
    """What /api/chat and /api/generate share."""

    model: str | None = None
    stream: bool | None = None
    format: Raw = NULL
    options: dict[str, Any] | None = None
    keep_alive: Any = None
    think: Any = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class ChatBody(GenerationBody):
    messages: list[WireMessage] | None = None
    tools: list[WireTool] | None = None


class GenerateBody(GenerationBody):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: list[str] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


class EmbedBody(Struct):
    model: str | None = None
    input: Any = None
    truncate: bool | None = None
    dimensions: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None


class LegacyEmbedBody(Struct):
    model: str | None = None
    prompt: str | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None


_decode_chat = BodyDecoder(ChatBody, "ChatRequest", EMPTY_BODY)
_decode_generate = BodyDecoder(GenerateBody, "GenerateRequest", EMPTY_BODY)
_decode_embed = BodyDecoder(EmbedBody, "EmbedRequest", EMPTY_BODY)
_decode_legacy_embed = BodyDecoder(LegacyEmbedBody, "EmbeddingRequest", EMPTY_BODY)


def parse_chat(body: bytes) -> ChatRequest | Preload:
    wire = _decode_chat(body)
    logprobs.wanted(wire.logprobs, wire.top_logprobs)
    model = require_model(wire.model)
    refuse_many("messages", wire.messages)
    messages = with_tool_names(
        [_message(index, message) for index, message in enumerate(wire.messages or ())]
    )
    if not messages:
        return _preload(wire, model, responses.chat_loaded(model))
    request = _generation(wire, model, messages)
    return msgspec.structs.replace(request, tools=read_tools(wire.tools))


def parse_generate(body: bytes) -> ChatRequest | Preload:
    wire = _decode_generate(body)
    logprobs.wanted(wire.logprobs, wire.top_logprobs)
    if not wire.model:
        raise ModelNotFound("")
    _refuse_generate_extras(wire)
    if not wire.prompt and not wire.suffix:
        return _preload(wire, wire.model, responses.generate_loaded(wire.model))
    system = [Message(role="system", content=wire.system)] if wire.system else []
    prompt = Message(role="user", content=wire.prompt or "", images=images.listed("images", wire.images))
    if wire.raw:
        return msgspec.structs.replace(_generation(wire, wire.model, (prompt,)), raw=True, think=False)
    return msgspec.structs.replace(
        _generation(wire, wire.model, (prompt,) if wire.suffix else (*system, prompt)),
        suffix=wire.suffix or "",
        before=tuple(wire.context or ()),
        return_ids=not prompt.images,  # ids could not say which images they stood for
    )


def _refuse_generate_extras(wire: GenerateBody) -> None:
    if wire.raw and (wire.system or wire.template or wire.context):
        raise BadRequest("raw mode does not support template, system, or context", "raw")
    refuse("template", wire.template, "cannot be given with a request; make a model with it by /api/create")
    if wire.raw:
        refuse(
            "suffix",
            wire.suffix,
            "raw mode takes no suffix; write the tokens into the prompt, or leave raw out",
        )
    if wire.suffix:
        refuse("images", wire.images, "a prompt with a suffix takes no images")
    for field in ("width", "height", "steps"):
        refuse(field, getattr(wire, field), "this model does not make images")


def _generation(wire: GenerationBody, model: str, messages: tuple[Message, ...]) -> ChatRequest:
    options = read_options(wire.options)
    return ChatRequest(
        model=model,
        messages=messages,
        think=think(wire.think),
        effort=wire.think if isinstance(wire.think, str) else "",
        sampling=options.sampling,
        constraint=constraint(raw_text(wire.format)),
        num_ctx=options.num_ctx,
        keep_alive_s=keep_alive_s(wire.keep_alive),
        truncate=wire.truncate,
        logprobs=bool(wire.logprobs),
        stream=wire.stream is not False,
        placement=Placement(device=options.device),
    )


def _preload(wire: GenerationBody, model: str, answer: responses.Answer) -> Preload:
    think(wire.think)
    request = LoadRequest(
        model=model,
        keep_alive_s=keep_alive_s(wire.keep_alive),
        placement=Placement(device=read_options(wire.options).device),
    )
    return Preload(request, answer)


def _message(index: int, wire: WireMessage) -> Message:
    field = f"messages[{index}].images"
    message = Message(
        role=role_name(wire.role),
        content=wire.content or "",
        images=images.listed(field, wire.images),
        thinking=wire.thinking or "",
        tool_calls=tuple(_tool_call(index, call) for call in wire.tool_calls or ()),
        tool_name=wire.tool_name or "",
        tool_call_id=wire.tool_call_id or "",
    )
    return images.of_the_user_alone(field, message)


def _tool_call(index: int, wire: WireToolCall) -> ToolCall:
    if wire.function is None or not wire.function.name:
        field = f"messages[{index}].tool_calls"
        raise BadRequest(f'"{field}.function.name" is required', field)
    return ToolCall(wire.id or "", wire.function.name, wire.function.arguments or {})


def think(value: object) -> bool | None:
    """None for absent; a level means on."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value in THINK_LEVELS:
        return True
    shown = quoted(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
    raise BadRequest(
        f'invalid think value: {shown} (must be "high", "medium", "low", "max", true, or false)', "think"
    )


def constraint(text: str) -> Constraint | None:
    """From the JSON text of `format`: null and "" are none, "json" is any JSON, an object is its schema."""
    if text in ("", "null", '""'):
        return None
    if text == '"json"':
        return Constraint()
    if text.startswith("{"):
        return Constraint(text)
    raise BadRequest(
        f'invalid format: {quoted(text)}; expected "json" or a valid JSON Schema object', "format"
    )


def parse_embed(body: bytes) -> EmbedRequest:
    wire = _decode_embed(body)
    if not wire.model:
        raise ModelNotFound("")
    options = read_options(wire.options)
    return EmbedRequest(
        model=wire.model,
        texts=_texts(wire.input),
        truncate=wire.truncate is not False,
        num_ctx=options.num_ctx,
        dimensions=max(0, wire.dimensions or 0),
        keep_alive_s=keep_alive_s(wire.keep_alive),
        placement=Placement(device=options.device),
    )


def parse_legacy_embed(body: bytes) -> EmbedRequest:
    """One text, and no other wishes than the model's."""
    wire = _decode_legacy_embed(body)
    model = require_model(wire.model)
    options = read_options(wire.options)
    return EmbedRequest(
        model=model,
        texts=(wire.prompt,) if wire.prompt else (),
        num_ctx=options.num_ctx,
        keep_alive_s=keep_alive_s(wire.keep_alive),
        placement=Placement(device=options.device),
    )


def _texts(given: object) -> tuple[str, ...]:
    """Nothing to embed for null, "" and []; [""] is one empty text."""
    if given is None or given == "":
        return ()
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        return tuple(given)
    raise BadRequest("invalid input type", "input")
