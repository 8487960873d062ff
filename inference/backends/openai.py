"""How OpenAI's API is spoken, also to LM Studio, vLLM, llama-server, OpenVINO Model Server, Lemonade and npuproxy.

Lost, since the API has no word for it: top_k, min_p, repeat_penalty, num_ctx, keep_alive, truncate. The level "max" of
thinking is "high", the highest that all know. A prompt as it stands and one with a suffix go to /v1/completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from inference.backends import wire_json
from inference.backends.openai_stream import OpenAiReader
from inference.backends.wire import Call, Listed, Reader, WireError
from inference.backends.wire_json import count, entries, mapping, object_of, text
from inference.backends.wire_turns import base64_of, media_type, pieces, with_ids
from inference.backends.wire_vectors import vector
from inference.types import ChatRequest, Constraint, EmbedRequest, Image, Message, Sampling, Tool, ToolChoice

_EFFORTS: Final = {"": "medium", "max": "high"}
_DROPPED: Final = (
    "chat_template_kwargs", "parallel_tool_calls", "stream_options", "temperature", "top_p", "presence_penalty",
    "frequency_penalty", "seed",
)  # fmt: skip
"""What a server may not know, and can be left out: calls beyond the first are not shown, its usage is unknown, and it
samples as it does by itself (OpenAI's models that think take none of these wishes)."""
_CONTEXTS: Final = (
    "max_model_len", "loaded_context_length", "max_context_length", "context_length", "context_window",
    "max_context_window",
)  # fmt: skip
"""vLLM, LM Studio, OpenRouter, Groq, Lemonade."""
_LABELS: Final = {
    "tool-calling": "tools",
    "reasoning": "thinking",
    "embeddings": "embedding",
    "vision": "vision",
}
"""Of Lemonade."""


class OpenAiWire:
    models_path = "/v1/models"

    def headers(self, key: str) -> dict[str, str]:
        told = {"Content-Type": "application/json"}
        return told | {"Authorization": f"Bearer {key}"} if key else told

    def refuses(self, request: ChatRequest | EmbedRequest) -> str:
        if isinstance(request, EmbedRequest):
            return ""
        if request.before:
            return "takes no token ids in front of a prompt"
        if not request.is_bare:
            return ""
        if request.constraint:
            return "holds no raw prompt to a format"
        if request.logprobs:
            return "gives no log probabilities for a raw prompt"
        return "takes no images in a raw prompt" if any(turn.images for turn in request.messages) else ""

    def chat(self, request: ChatRequest, model: str) -> Call:
        body: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
        body |= _sampling(request.sampling)
        if request.is_bare:
            body["prompt"] = "".join(turn.content for turn in request.messages)
            if request.suffix:
                body["suffix"] = request.suffix
            return Call("/v1/completions", msgspec.json.encode(body))
        body["messages"] = _messages(request)
        if request.tools:
            body |= _tools(request.tools, request.tool_choice)
        if request.constraint is not None:
            body["response_format"] = _format(request.constraint)
        if request.logprobs:
            body["logprobs"] = True
        if request.think is not None:
            body |= _thinking(request.think, request.effort)
        return Call("/v1/chat/completions", msgspec.json.encode(body))

    def simpler(self, call: Call, words: str) -> Call | None:
        body: dict[str, Any] = msgspec.json.decode(call.body)
        kind = mapping(body.get("response_format")).get("type")
        dropped = wire_json.not_taken(words, [name for name in _DROPPED if name in body])
        effort = body.get("reasoning_effort")
        if "max_completion_tokens" in words and "instead" in words and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")  # OpenAI's models that think
        elif "response_format" in words and kind == "json_object":
            body["response_format"] = _schema({"type": "object"})  # LM Studio
        elif effort and ("think value" in words or (effort == "none" and "reasoning_effort" in words)):
            del body["reasoning_effort"]  # models without levels, or without an end to their thoughts
        elif dropped:
            del body[dropped]
        else:
            return None
        return Call(call.path, msgspec.json.encode(body))

    def reader(self, request: ChatRequest) -> Reader:
        return OpenAiReader(request)

    def embed(self, request: EmbedRequest, model: str) -> Call:
        given = request.ids or request.texts
        body = {"model": model, "input": given, "encoding_format": "base64"}
        return Call("/v1/embeddings", msgspec.json.encode(body))

    def vectors(self, body: bytes) -> tuple[tuple[list[float], ...], int | None]:
        answer = object_of(body)
        if (said := wire_json.error_of(answer)) is not None:
            raise WireError(said)
        data = entries(answer, "data")
        if all(count(entry.get("index")) is not None for entry in data):
            data.sort(key=lambda entry: count(entry["index"]) or 0)
        usage = mapping(answer.get("usage"))
        return tuple([vector(entry.get("embedding")) for entry in data]), count(usage.get("prompt_tokens"))

    def models(self, body: bytes) -> tuple[Listed, ...]:
        answer = object_of(body)
        if (said := wire_json.error_of(answer)) is not None and "data" not in answer:
            raise WireError(said)
        if "data" not in answer:
            raise WireError("its list of models has no data")
        return tuple([_listed(entry) for entry in entries(answer, "data") if text(entry.get("id"))])

    def refusal(self, body: bytes) -> str:
        return wire_json.words(body)


def _sampling(sampling: Sampling) -> dict[str, Any]:
    fields = {
        "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
        "max_tokens": sampling.max_tokens if (sampling.max_tokens or 0) > 0 else None,
        "stop": sampling.stop or None,
        "presence_penalty": sampling.presence_penalty, "frequency_penalty": sampling.frequency_penalty,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def _thinking(think: bool, effort: str) -> dict[str, Any]:
    """Both ways: OpenVINO Model Server, SGLang and older versions of vLLM and llama-server know the second alone."""
    level = _EFFORTS.get(effort, effort) if think else "none"
    return {"reasoning_effort": level, "chat_template_kwargs": {"enable_thinking": think, "thinking": think}}


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Images that a tool gave become a user's turn behind the results: a result is text alone."""
    turns: list[dict[str, Any]] = []
    shown: list[Image] = []
    messages = with_ids(request.messages)
    asked = max((at for at, turn in enumerate(messages) if turn.role == "user"), default=-1)
    for at, message in enumerate(messages):
        if shown and message.role != "tool":
            turns.append({"role": "user", "content": [_part(image) for image in shown]})
            shown = []
        if message.role == "tool":
            shown += message.images
            turns.append({"role": "tool", "content": message.content, "tool_call_id": message.tool_call_id})
        else:
            turns.append(_turn(message, thoughts=at > asked))
    return [*turns, {"role": "user", "content": [_part(image) for image in shown]}] if shown else turns


def _turn(message: Message, *, thoughts: bool) -> dict[str, Any]:
    """`thoughts`: of turns since the last question; templates drop older ones, and OpenAI itself takes none."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        turn["content"] = [_part(piece) for piece in pieces(message)]
    if thoughts and message.thinking:
        turn["reasoning_content"] = turn["reasoning"] = message.thinking  # both names are in use
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    return turn


def _part(piece: str | Image) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    url = f"data:{media_type(piece.data)};base64,{base64_of(piece)}"
    return {"type": "image_url", "image_url": {"url": url}}


def _tools(tools: tuple[Tool, ...], choice: ToolChoice) -> dict[str, Any]:
    """A choice of some is those alone: a tool by its name is refused by LM Studio and ignored by llama-server."""
    offered = [tool for tool in tools if not choice.names or tool.name in choice.names] or tools
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in offered]}
    if choice.required:
        fields["tool_choice"] = "required"
    return fields if choice.parallel else fields | {"parallel_tool_calls": False}


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _format(constraint: Constraint) -> dict[str, Any]:
    return _schema(Raw(constraint.schema.encode())) if constraint.schema else {"type": "json_object"}


def _schema(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _listed(entry: Mapping[str, Any]) -> Listed:
    meta = mapping(entry.get("meta"))  # llama-server's
    stated = (
        count(meta.get("n_ctx")),
        *(count(entry.get(name)) for name in _CONTEXTS),
        count(meta.get("n_ctx_train")),
    )
    labels = entry.get("labels")
    capabilities = (
        {_LABELS[label] for label in labels if label in _LABELS} if isinstance(labels, list) else set()
    )
    if labels and "embedding" not in capabilities:
        capabilities.add("completion")
    return Listed(
        id=entry["id"],
        size_bytes=count(meta.get("size")) or 0,
        parameter_count=count(meta.get("n_params")) or 0,
        context_length=next(filter(None, stated), 0),
        capabilities=frozenset(capabilities),
    )
