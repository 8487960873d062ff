"""How Anthropic's Messages API is spoken.

Lost, since the API has no word for it: min_p, seed, the penalties, num_ctx, keep_alive, truncate, a temperature above 1
(it is 1), a top_p beside a temperature where the model takes only one of them, and with thoughts every wish about
sampling but a top_p of 0.95 and more. Thoughts of earlier turns stay here: they go back only with the signature that
came with them. What it cannot do at all it refuses: raw prompts, suffixes, log probabilities, embeddings, JSON without
a schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from inference.backends import wire_json
from inference.backends.anthropic_stream import AnthropicReader
from inference.backends.anthropic_turns import ROLES, system_of, tools_of, turns_of
from inference.backends.wire import Call, Listed, Reader, WireError
from inference.backends.wire_json import count, entries, mapping, object_of, text
from inference.backends.wire_turns import media_type
from inference.types import ChatRequest, EmbedRequest, Message, Sampling

MAX_TOKENS: Final = 8192
"""Where the request has no limit, which this API wants: what the smallest model that is still served can write."""
_BUDGETS: Final = {"": 8192, "low": 2048, "medium": 8192, "high": 16_384, "max": 32_000}
"""Tokens of thoughts; they count within max_tokens."""
_SMALLEST_BUDGET: Final = 1024
_THINKING_TOP_P: Final = 0.95
_DROPPED: Final = ("top_p", "top_k", "temperature")
_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class AnthropicWire:
    models_path = "/v1/models?limit=1000"

    def headers(self, key: str) -> dict[str, str]:
        told = {"Content-Type": "application/json", "anthropic-version": "2023-06-01"}
        return told | {"x-api-key": key} if key else told

    def refuses(self, request: ChatRequest | EmbedRequest) -> str:
        if isinstance(request, EmbedRequest):
            return "does not embed"
        checks = (
            (request.before, "takes no token ids in front of a prompt"),
            (request.is_bare, "takes no raw prompts and no suffixes"),
            (request.logprobs, "gives no log probabilities"),
            (request.constraint and not request.constraint.schema, "gives JSON only by a schema"),
            (
                any(not stop.strip() for stop in request.sampling.stop or ()),
                "takes no stop string of white space",
            ),
        )
        return next((words for found, words in checks if found), "") or _refused_turn(request.messages)

    def chat(self, request: ChatRequest, model: str) -> Call:
        max_tokens, budget = _limits(request)
        body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "stream": True}
        if system := system_of(request.messages):
            body["system"] = system
        body["messages"] = turns_of(request.messages)
        body |= tools_of(request) | _sampling(request.sampling, thinks=bool(budget))
        if budget:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        if request.constraint is not None:
            schema = Raw(request.constraint.schema.encode())
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return Call("/v1/messages", msgspec.json.encode(body))

    def simpler(self, call: Call, words: str) -> Call | None:
        """Later models have no budgets of thoughts but a level, and the latest no wishes about sampling."""
        body: dict[str, Any] = msgspec.json.decode(call.body)
        budget = count(mapping(body.get("thinking")).get("budget_tokens"))
        if budget is not None and ("adaptive" in words or "thinking.type" in words):
            level = next((level for level, most in _BUDGETS.items() if level and budget <= most), "max")
            body["thinking"] = {"type": "adaptive", "display": "summarized"}
            body["output_config"] = mapping(body.get("output_config")) | {"effort": level}
        elif name := wire_json.not_taken(words, [name for name in _DROPPED if name in body]):
            del body[name]
        else:
            return None
        return Call(call.path, msgspec.json.encode(body))

    def reader(self, request: ChatRequest) -> Reader:
        return AnthropicReader(request)

    def embed(self, request: EmbedRequest, model: str) -> Call:
        raise WireError("does not embed")

    def vectors(self, body: bytes) -> tuple[tuple[list[float], ...], int | None]:
        raise WireError("does not embed")

    def models(self, body: bytes) -> tuple[Listed, ...]:
        """One page, which holds a thousand."""
        answer = object_of(body)
        if "data" not in answer:
            raise WireError(wire_json.error_of(answer) or "its list of models has no data")
        return tuple([_listed(entry) for entry in entries(answer, "data") if text(entry.get("id"))])

    def refusal(self, body: bytes) -> str:
        return wire_json.words(body)


def _refused_turn(messages: tuple[Message, ...]) -> str:
    for message in messages:
        if message.role not in ROLES:
            return f"has no role {message.role!r}"
        for image in message.images:
            if (kind := media_type(image.data)) not in _IMAGES:
                return f"takes no images of the kind {kind}"
    return ""


def _limits(request: ChatRequest) -> tuple[int, int]:
    """max_tokens, and how many of them may be thoughts: 0 where there are none.

    None where a call is required or tools have just answered, since either goes with thoughts only by a signature that
    is not here; and none where the request's own limit leaves no room for the smallest budget and as much again.
    """
    limit = request.sampling.max_tokens if (request.sampling.max_tokens or 0) > 0 else None
    thinks = request.think and not (request.tools and request.tool_choice.required)
    if not thinks or (request.messages and request.messages[-1].role == "tool"):
        return limit or MAX_TOKENS, 0
    budget = _BUDGETS.get(request.effort, _BUDGETS[""])
    if limit is None:
        return MAX_TOKENS + budget, budget
    budget = min(budget, limit // 2)
    return limit, budget if budget >= _SMALLEST_BUDGET else 0


def _sampling(sampling: Sampling, *, thinks: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"stop_sequences": sampling.stop or None}
    top_p = sampling.top_p if sampling.top_p is not None and sampling.top_p < 1 else None
    if thinks:
        fields["top_p"] = top_p if top_p is not None and top_p >= _THINKING_TOP_P else None
    else:
        fields["temperature"] = None if sampling.temperature is None else min(1.0, sampling.temperature)
        fields["top_p"] = top_p
        fields["top_k"] = sampling.top_k if (sampling.top_k or 0) > 0 else None
    return {name: value for name, value in fields.items() if value is not None}


def _listed(entry: Mapping[str, Any]) -> Listed:
    told = mapping(entry.get("capabilities"))
    capabilities = {"completion", "tools"} if told else set()
    for name, ours in (("image_input", "vision"), ("thinking", "thinking")):
        if mapping(told.get(name)).get("supported") is True:
            capabilities.add(ours)
    return Listed(
        id=entry["id"],
        context_length=count(entry.get("max_input_tokens")) or 0,
        capabilities=frozenset(capabilities),
    )
