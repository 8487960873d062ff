"""OpenAI's bodies into ChatRequest and EmbedRequest (api-contract 6.2 and 6.4)."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct

from compat_api import images, logprobs
from compat_api.decoding import NULL, BodyDecoder, raw_text
from compat_api.dialect import Several
from compat_api.efforts import EFFORTS
from compat_api.openai import custom_tools
from compat_api.openai.choices import several
from compat_api.openai.custom_tools import Customs, CustomToolsRequest
from compat_api.refusals import refuse, refuse_many, require_model
from compat_api.tools import WireTool, chosen, offered, read_tool, role_name, with_tool_names
from inference.errors import BadRequest, ModelNotFound
from inference.sampling import bounded
from inference.types import ChatRequest, Constraint, EmbedRequest, Message, Sampling, Tool, ToolCall

EMPTY_BODY = "EOF"


class CalledFunction(Struct):
    name: str | None = None
    arguments: str | None = None


class CalledCustom(Struct):
    name: str | None = None
    input: str | None = None


class WireToolCall(Struct):
    id: str | None = None
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class CustomTool(Struct):
    name: str | None = None
    description: str | None = None
    format: Any = None


class ChatTool(WireTool):
    custom: CustomTool | None = None
    format: Any = None


class WireMessage(Struct):
    role: str | None = None
    content: Any = None
    reasoning: str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None


class Reasoning(Struct):
    effort: str | None = None


class JsonSchema(Struct):
    schema: Raw = NULL


class ResponseFormat(Struct):
    type: str | None = None
    json_schema: JsonSchema | None = None


class GenerationBody(Struct):
    """What /v1/chat/completions and /v1/completions share."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    n: int | None = None
    logit_bias: Any = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ItemsInstead(BadRequest):
    """A chat whose conversation is `input`, as /v1/responses has it."""


class ChatBody(GenerationBody):
    messages: list[WireMessage] | None = None
    input: Raw = msgspec.field(default_factory=partial(Raw, b""))
    max_completion_tokens: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[ChatTool] | None = None
    tool_choice: Any = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    parallel_tool_calls: Any = None


class EmbeddingsBody(Struct):
    model: str | None = None
    input: Any = None
    dimensions: int | None = None
    encoding_format: str | None = None


_decode_chat = BodyDecoder(ChatBody, "ChatCompletionRequest", EMPTY_BODY)
_decode_embeddings = BodyDecoder(EmbeddingsBody, "EmbedRequest", EMPTY_BODY)


def parse_chat(body: bytes) -> ChatRequest | Several:
    wire = _decode_chat(body)
    if wire.messages is None and bytes(wire.input) not in (b"", b"null"):
        raise ItemsInstead("input: is not a field of chats", "input")
    if not wire.messages:
        raise BadRequest("[] is too short - 'messages'", "messages")
    refuse_many("messages", wire.messages)
    choice = chosen(wire.tool_choice, wire.parallel_tool_calls)
    tools, customs = _tools(wire.tools or [])
    request = CustomToolsRequest(
        model=require_model(wire.model),
        messages=with_tool_names(
            [_message(index, message, customs) for index, message in enumerate(wire.messages)]
        ),
        tools=offered(tools, choice) if wire.tool_choice != "none" else (),
        customs=customs,
        tool_choice=choice,
        think=_think(wire),
        effort=EFFORTS.get(_effort(wire), ""),
        sampling=sampling_of(wire, wire.max_completion_tokens),
        constraint=_constraint(wire.response_format),
        logprobs=logprobs.wanted(wire.logprobs, wire.top_logprobs),
        stream=bool(wire.stream),
        include_usage=wire.wants_usage,
    )
    return several([request], wire.n)


def sampling_of(wire: GenerationBody, max_tokens: int | None = None) -> Sampling:
    """`max_tokens` goes before the body's own. Raises BadRequest; also for a logit_bias: GenAI's GenerationConfig has
    no field for it (openvino-facts 6 lists them all, and any other name is accepted silently), and neither pipeline
    takes a processor of scores."""
    refuse(
        "logit_bias", wire.logit_bias, "the engine cannot change the scores of single tokens; leave it out"
    )
    stop = (wire.stop,) if isinstance(wire.stop, str) else wire.stop
    return bounded(
        Sampling(
            temperature=1.0 if wire.temperature is None else wire.temperature,
            top_p=1.0 if wire.top_p is None else wire.top_p,
            seed=wire.seed,
            max_tokens=wire.max_tokens if max_tokens is None else max_tokens,
            stop=None if stop is None else tuple(text for text in stop if text),
            presence_penalty=wire.presence_penalty,
            frequency_penalty=wire.frequency_penalty,
        )
    )


def _tools(wire: list[ChatTool]) -> tuple[tuple[Tool, ...], Customs]:
    tools: list[Tool] = []
    customs: Customs = {}
    for index, given in enumerate(wire):
        if given.type != "custom":
            tools.append(read_tool(index, given))
            continue
        custom = given.custom or CustomTool(given.name, given.description, given.format)
        if not custom.name:
            raise BadRequest(f'"tools[{index}].custom.name" is required', f"tools[{index}]")
        tools.append(custom_tools.tool(custom.name, custom.description, custom.format))
        customs[custom.name] = "nested" if given.custom else "flat"
    return tuple(tools), customs


def _effort(wire: ChatBody) -> str:
    return wire.reasoning_effort or (wire.reasoning.effort if wire.reasoning else None) or ""


def _think(wire: ChatBody) -> bool | None:
    effort = _effort(wire)
    if not effort:
        return None
    if effort not in EFFORTS:
        raise BadRequest(
            f'invalid reasoning value: "{effort}" (must be "high", "medium", "low", "max", or "none")',
            "reasoning_effort",
        )
    return effort != "none"


def _constraint(wire: ResponseFormat | None) -> Constraint | None:
    if wire is None:
        return None
    schema = wire.json_schema.schema if wire.json_schema else Raw(b"null")
    return json_constraint(wire.type, schema, "response_format", "response_format.json_schema.schema")


def json_constraint(kind: str | None, schema: Raw, field: str, schema_field: str) -> Constraint | None:
    """Of a format: text, any JSON object, or the JSON text of a schema. Raises BadRequest."""
    if kind in (None, "", "text"):
        return None
    if kind == "json_object":
        return Constraint()
    if kind != "json_schema":
        raise BadRequest(f'"{field}.type" must be "text", "json_object" or "json_schema"', field)
    text = raw_text(schema)
    if not text.startswith("{"):
        raise BadRequest(f'"{schema_field}" must be a JSON schema object', field)
    return Constraint(text)


def _message(index: int, wire: WireMessage, customs: Customs) -> Message:
    calls = tuple(_tool_call(call, customs) for call in wire.tool_calls or ())
    field = f"messages[{index}].content"
    content = _content(field, wire.content, has_calls=bool(calls))
    message = Message(
        role=role_name(wire.role),
        content=content.text,
        images=content.images,
        thinking=wire.reasoning or "",
        tool_calls=calls,
        tool_name=(wire.name or "") if wire.role == "tool" else "",
        tool_call_id=wire.tool_call_id or "",
    )
    return images.of_the_user_alone(field, message)


def _tool_call(wire: WireToolCall, customs: Customs) -> ToolCall:
    if wire.custom is not None:
        return custom_tools.called(wire.id or "", wire.custom.name or "", wire.custom.input or "")
    function = wire.function or CalledFunction()
    if function.name in customs:
        return custom_tools.from_arguments(wire.id or "", function.name, function.arguments or "")
    try:
        arguments = msgspec.json.decode(function.arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("invalid tool call arguments", "messages.tool_calls") from None
    return ToolCall(wire.id or "", function.name or "", arguments)


def _content(field: str, content: object, *, has_calls: bool) -> images.Parts:
    parts = images.Parts()
    if isinstance(content, str):
        parts.say(content)
        return parts
    if content is None and has_calls:
        return parts
    if isinstance(content, list):
        for index, part in enumerate(content):
            _add_part(parts, f"{field}[{index}]", part)
        return parts
    kinds = {
        type(None): "<nil>",
        bool: "bool",
        int: "float64",
        float: "float64",
        dict: "map[string]interface {}",
    }
    raise BadRequest(
        f"invalid message content type: {kinds.get(type(content), 'unknown')}", "messages.content"
    )


def _add_part(parts: images.Parts, field: str, part: object) -> None:
    if not isinstance(part, dict):
        raise BadRequest("invalid message format", "messages.content")
    kind, text = part.get("type"), part.get("text")
    if kind == "text" and isinstance(text, str):
        parts.say(text)
    elif kind == "refusal" and isinstance(part.get("refusal"), str):  # what the assistant once answered
        parts.say(part["refusal"])
    elif kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if not isinstance(url, str):
            raise BadRequest("invalid message format", "messages.content")
        parts.show(f"{field}.image_url", uri=url)
    elif kind == "input_audio":
        raise BadRequest('"input_audio": this model does not take audio', "messages.content")
    else:
        raise BadRequest("invalid message format", "messages.content")


def parse_embeddings(body: bytes) -> EmbedRequest:
    wire = _decode_embeddings(body)
    if not wire.model:
        raise ModelNotFound("")
    encoding = wire.encoding_format or "float"
    if encoding not in ("float", "base64"):
        raise BadRequest(
            f"Invalid value for 'encoding_format' = {encoding}. Supported values: ['float', 'base64'].",
            "encoding_format",
        )
    if (wire.dimensions or 0) < 0:
        raise BadRequest(f"'dimensions': {wire.dimensions} is less than the minimum of 1", "dimensions")
    texts, ids = _texts(wire.input)
    return EmbedRequest(
        model=wire.model,
        texts=texts,
        ids=ids,
        dimensions=wire.dimensions or 0,
        encoding="base64" if encoding == "base64" else "float",
    )


def _texts(given: object) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Texts, or texts as token ids. An empty string is one empty text."""
    if isinstance(given, str):
        return (given,), ()
    if not isinstance(given, list | None):
        raise BadRequest("invalid input type", "input")
    if not given or [] in given:
        raise BadRequest("invalid input", "input")
    if all(isinstance(text, str) for text in given):
        return tuple(given), ()
    lists = [given] if type(given[0]) is int else given
    if all(isinstance(ids, list) and all(type(id) is int for id in ids) for ids in lists):
        return (), tuple([tuple(ids) for ids in lists])
    raise BadRequest("invalid input type", "input")
