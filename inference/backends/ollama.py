"""How Ollama's own API is spoken: /api/chat, and /api/generate for a prompt as it stands or with a suffix.

Lost: where an image stands in the text of its turn. A call cannot be required here, so such requests are refused.
Nothing is cut silently over there: `truncate` and `shift` are off, unless the request wishes the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from inference.backends import wire_json
from inference.backends.ollama_stream import OllamaReader
from inference.backends.wire import Call, Listed, Reader, WireError
from inference.backends.wire_json import count, entries, mapping, object_of, text
from inference.backends.wire_turns import base64_of, with_ids
from inference.backends.wire_vectors import vector
from inference.types import FOREVER, ChatRequest, EmbedRequest, Message, Sampling, Tool

_LEVELS: Final = frozenset({"low", "medium", "high", "max"})
_SIZE: Final = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)\s*([KMBT])?", re.IGNORECASE)
_FACTORS: Final = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


class OllamaWire:
    models_path = "/api/tags"

    def headers(self, key: str) -> dict[str, str]:
        told = {"Content-Type": "application/json"}
        return told | {"Authorization": f"Bearer {key}"} if key else told

    def refuses(self, request: ChatRequest | EmbedRequest) -> str:
        if isinstance(request, EmbedRequest):
            return "takes no token ids to embed" if request.ids else ""
        if request.before:
            return "takes no token ids in front of a prompt"
        return "cannot require a call" if request.tools and request.tool_choice.required else ""

    def chat(self, request: ChatRequest, model: str) -> Call:
        body: dict[str, Any] = {"model": model, "stream": True, "options": _options(request)}
        body |= {"truncate": bool(request.truncate), "shift": False}
        if request.keep_alive_s is not None:
            body["keep_alive"] = _keep_alive(request.keep_alive_s)
        if request.constraint is not None:
            schema = request.constraint.schema
            body["format"] = Raw(schema.encode()) if schema else "json"
        if request.logprobs:
            body["logprobs"] = True
        if request.is_bare:
            return Call("/api/generate", msgspec.json.encode(body | _prompt(request)))
        body["messages"] = [_turn(message) for message in with_ids(request.messages)]
        if request.tools:
            names = request.tool_choice.names
            body["tools"] = [_tool(tool) for tool in request.tools if not names or tool.name in names]
        if request.think is not None:
            body["think"] = request.effort if request.think and request.effort in _LEVELS else request.think
        return Call("/api/chat", msgspec.json.encode(body))

    def simpler(self, call: Call, words: str) -> Call | None:
        """Versions before the levels, or models that know none of them, take `true`."""
        body: dict[str, Any] = msgspec.json.decode(call.body)
        if isinstance(body.get("think"), str) and "think value" in words:
            return Call(call.path, msgspec.json.encode(body | {"think": True}))
        return None

    def reader(self, request: ChatRequest) -> Reader:
        return OllamaReader(request)

    def embed(self, request: EmbedRequest, model: str) -> Call:
        body: dict[str, Any] = {"model": model, "input": request.texts, "truncate": request.truncate}
        if request.keep_alive_s is not None:
            body["keep_alive"] = _keep_alive(request.keep_alive_s)
        if request.num_ctx:
            body["options"] = {"num_ctx": request.num_ctx}
        return Call("/api/embed", msgspec.json.encode(body))

    def vectors(self, body: bytes) -> tuple[tuple[list[float], ...], int | None]:
        answer = object_of(body)
        if (said := wire_json.error_of(answer)) is not None:
            raise WireError(said)
        found = answer.get("embeddings")
        if not isinstance(found, list):
            raise WireError("its answer has no embeddings")
        return tuple([vector(one) for one in found]), count(answer.get("prompt_eval_count"))

    def models(self, body: bytes) -> tuple[Listed, ...]:
        answer = object_of(body)
        if "models" not in answer:
            raise WireError(wire_json.error_of(answer) or "its list of models has no models")
        return tuple([_listed(entry) for entry in entries(answer, "models") if _name(entry)])

    def refusal(self, body: bytes) -> str:
        return wire_json.words(body)


def _options(request: ChatRequest) -> dict[str, Any]:
    sampling: Sampling = request.sampling
    options = {
        "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p,
        "seed": sampling.seed, "stop": sampling.stop or None, "repeat_penalty": sampling.repeat_penalty,
        "num_predict": sampling.max_tokens if (sampling.max_tokens or 0) > 0 else None,
        "presence_penalty": sampling.presence_penalty, "frequency_penalty": sampling.frequency_penalty,
        "num_ctx": request.num_ctx,
    }  # fmt: skip
    return {name: value for name, value in options.items() if value is not None}


def _keep_alive(seconds: float) -> float:
    """Negative is forever."""
    return -1 if seconds == FOREVER else seconds


def _prompt(request: ChatRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {"prompt": "".join(turn.content for turn in request.messages)}
    if images := [base64_of(image) for turn in request.messages for image in turn.images]:
        fields["images"] = images
    return fields | ({"suffix": request.suffix} if request.suffix else {"raw": True})


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        turn["thinking"] = message.thinking
    if message.images:
        turn["images"] = [base64_of(image) for image in message.images]
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "function": {"index": index, "name": call.name, "arguments": call.arguments}}
            for index, call in enumerate(message.tool_calls)
        ]
    if message.tool_name:
        turn["tool_name"] = message.tool_name
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _name(entry: Mapping[str, Any]) -> str:
    return text(entry.get("model")) or text(entry.get("name"))


def _listed(entry: Mapping[str, Any]) -> Listed:
    details, told = mapping(entry.get("details")), entry.get("capabilities")
    return Listed(
        id=_name(entry),
        digest=text(entry.get("digest")).removeprefix("sha256:"),
        size_bytes=count(entry.get("size")) or 0,
        parameter_count=parameters_of(text(details.get("parameter_size"))),
        context_length=count(details.get("context_length")) or 0,
        capabilities=frozenset(filter(None, map(text, told))) if isinstance(told, list) else frozenset(),
    )


def parameters_of(size: str) -> int:
    """'4.3B', '137M', '8x7B' (all experts), '1,5 B' or a bare number; 0 for what says no size."""
    match = _SIZE.fullmatch(size.strip().replace(",", "."))
    if match is None:
        return 0
    experts, number, factor = match.groups()
    return round(int(experts or 1) * float(number) * _FACTORS[(factor or "").upper()])
