"""Messages of clients into ChatRequest and EmbedRequest, and annotations into the headers that say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage

from compat_api import headers
from compat_api.keep_alive import keep_alive_s
from compat_api.ollama.requests import constraint
from compat_api.refusals import refuse_many, require_model
from compat_api.tools import role_name, with_tool_names
from inference.errors import BadRequest
from inference.sampling import bounded
from inference.types import ChatRequest, EmbedRequest, Image, Message, Sampling, Tool, ToolCall
from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.peers import Header

Wire = TypeVar("Wire", bound=ProtoMessage)

_HEADERS = {
    "target": b"x-target-backend",
    "latency_critical": b"x-latency-critical",
    "prefer_power_efficiency": b"x-power-efficient",
    "cache_enabled": b"x-cache-enabled",
    "max_latency_ms": b"x-max-latency-ms",
    "max_power_watts": b"x-max-power-watts",
    "priority": b"x-priority",
}
"""By the field of Annotations."""


def read(kind: type[Wire], body: bytes) -> Wire:
    """Raises BadRequest for bytes that are no such message."""
    message = kind()
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise BadRequest(f"the request is no message {kind.DESCRIPTOR.full_name}") from None
    return message


def annotated(given: pb.Annotations) -> list[Header]:
    """The headers that say the same. Raises BadRequest that names the annotation."""
    said = [(f"annotations.{field.name}", _HEADERS[field.name], value) for field, value in given.ListFields()
            if field.name in _HEADERS]  # fmt: skip
    said += [(f"annotations.custom[{name}]", _custom(name), value) for name, value in given.custom.items()]
    found = []
    for field, name, value in said:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        header = (name, text.encode("latin-1", "replace"))
        _check(field, header)
        found.append(header)
    return found


def _custom(name: str) -> bytes:
    plain = name.lower().replace("_", "-").removeprefix("x-")
    return f"x-{plain}".encode("ascii", "replace")


def _check(field: str, header: Header) -> None:
    try:
        headers.placement([header])
    except BadRequest as error:
        words = str(error)
        if error.field and words.startswith(error.field):
            words = field + words[len(error.field) :]
        raise BadRequest(words, field) from None


def generate(wire: pb.GenerateRequest, stream: bool) -> ChatRequest:
    """Raises BadRequest that names the first fault."""
    model = require_model(wire.model)
    if not wire.prompt and not wire.suffix:
        raise BadRequest('"prompt" is required', "prompt")
    for field, given in (("raw", wire.raw), ("system", wire.system), ("images", wire.images)):
        if wire.suffix and given:
            raise BadRequest(f'"suffix": cannot be given together with "{field}"', "suffix")
    if wire.raw and wire.system:
        raise BadRequest('"raw": the prompt stands as it is; "system" cannot be given too', "raw")
    prompt = Message(role="user", content=wire.prompt, images=_images("images", wire.images))
    system = (Message(role="system", content=wire.system),) if wire.system else ()
    return ChatRequest(
        model=model,
        messages=(*system, prompt),
        think=False if wire.raw else _think(wire),
        sampling=_sampling(wire.options),
        constraint=_format(wire.format),
        num_ctx=_context(wire.options),
        keep_alive_s=keep_alive_s(wire.keep_alive or None),
        raw=wire.raw,
        suffix=wire.suffix,
        stream=stream,
    )


def chat(wire: pb.ChatRequest, stream: bool) -> ChatRequest:
    """Raises BadRequest that names the first fault."""
    model = require_model(wire.model)
    if not wire.messages:
        raise BadRequest('"messages" is required', "messages")
    refuse_many("messages", wire.messages)
    return ChatRequest(
        model=model,
        messages=with_tool_names([_message(index, message) for index, message in enumerate(wire.messages)]),
        tools=tuple(_tool(index, tool) for index, tool in enumerate(wire.tools)),
        think=_think(wire),
        sampling=_sampling(wire.options),
        constraint=_format(wire.format),
        num_ctx=_context(wire.options),
        keep_alive_s=keep_alive_s(wire.keep_alive or None),
        stream=stream,
    )


def embed(wire: pb.EmbedRequest) -> EmbedRequest:
    """Raises BadRequest that names the first fault."""
    model = require_model(wire.model)
    texts = (*((wire.text,) if wire.text else ()), *wire.texts)
    if not texts:
        raise BadRequest('"text" is required', "text")
    if wire.dimensions < 0:
        raise BadRequest(f'"dimensions": {wire.dimensions} is below 0', "dimensions")
    return EmbedRequest(
        model=model,
        texts=texts,
        truncate=wire.truncate if wire.HasField("truncate") else True,
        dimensions=wire.dimensions,
        keep_alive_s=keep_alive_s(wire.keep_alive or None),
    )


def _message(index: int, wire: pb.Message) -> Message:
    field = f"messages[{index}]"
    if not wire.role:
        raise BadRequest(f'"{field}.role" is required', f"{field}.role")
    if wire.images and wire.role.lower() == "assistant":
        raise BadRequest(f'"{field}.images": an assistant\'s turn has no images', f"{field}.images")
    return Message(
        role=role_name(wire.role),
        content=wire.content,
        images=_images(f"{field}.images", wire.images),
        thinking=wire.thinking,
        tool_calls=tuple(_tool_call(f"{field}.tool_calls[{i}]", call) for i, call in enumerate(wire.tool_calls)),
        tool_name=wire.tool_name,
        tool_call_id=wire.tool_call_id,
    )  # fmt: skip


def _tool_call(field: str, wire: pb.ToolCall) -> ToolCall:
    if not wire.name:
        raise BadRequest(f'"{field}.name" is required', f"{field}.name")
    return ToolCall(wire.id, wire.name, _object(f"{field}.arguments", wire.arguments))


def _tool(index: int, wire: pb.Tool) -> Tool:
    field = f"tools[{index}]"
    if not wire.name:
        raise BadRequest(f'"{field}.name" is required', f"{field}.name")
    parameters = _object(f"{field}.parameters", wire.parameters)
    return Tool(name=wire.name, description=wire.description, parameters=parameters)


def _object(field: str, text: str) -> dict[str, Any]:
    """A JSON object; '' is an empty one."""
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise BadRequest(f'"{field}" must be the text of a JSON object', field)
    return found


def _images(field: str, given: Sequence[bytes]) -> tuple[Image, ...]:
    for index, data in enumerate(given):
        if not data:
            raise BadRequest(f'"{field}[{index}]" is empty; give the bytes of an image file', field)
    return tuple(Image(data=data, field=f"{field}[{index}]") for index, data in enumerate(given))


def _think(wire: pb.GenerateRequest | pb.ChatRequest) -> bool | None:
    return wire.think if wire.HasField("think") else None


def _format(text: str) -> Any:
    return constraint('"json"' if text == "json" else text)


def _context(options: pb.Options) -> int | None:
    if options.context_length < 0:
        raise BadRequest(
            f'"options.context_length": {options.context_length} is below 0', "options.context_length"
        )
    return options.context_length or None


def _sampling(options: pb.Options) -> Sampling:
    given = {field.name: value for field, value in options.ListFields()}
    for name in ("temperature", "top_p"):
        if math.isnan(given.get(name, 0.0)):
            raise BadRequest(f'"options.{name}" is not a number', f"options.{name}")
    stop = given.get("stop")
    return bounded(
        Sampling(
            temperature=given.get("temperature"),
            top_p=given.get("top_p"),
            top_k=given.get("top_k"),
            max_tokens=given.get("max_tokens"),
            stop=None if stop is None else tuple(text for text in stop if text),
            seed=given.get("seed"),
        )
    )
