"""From a request to a job: may the model do it, what are its exact prompt ids, which sampling is complete.

Everything here happens before a device is chosen, so that the choice can rest on exact counts.
"""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import structs

from inference.backend import ChatJob, EmbedJob
from inference.errors import CapabilityMissing, ContextLengthExceeded
from inference.texts import Text
from inference.tokenizer import INLINE_CHARS, TextCodec
from inference.types import (
    DEFAULT_SAMPLING,
    ChatRequest,
    EmbedRequest,
    Message,
    ModelSpec,
)


def check_capabilities(spec: ModelSpec, request: ChatRequest) -> None:
    """Raises CapabilityMissing in the words of api-contract 8."""
    if spec.kind != "chat":
        raise CapabilityMissing(f'"{request.model}" does not support chat')
    if request.tools and "tools" not in spec.capabilities:
        raise CapabilityMissing(f"{spec.name} does not support tools", "tools")
    if request.think and "thinking" not in spec.capabilities:
        raise CapabilityMissing(f'"{request.model}" does not support thinking', "think")


def thinks(spec: ModelSpec, request: ChatRequest) -> bool:
    """Thinking is on by default where the model can."""
    return "thinking" in spec.capabilities and request.think is not False


def messages_of(spec: ModelSpec, request: ChatRequest) -> tuple[Message, ...]:
    """The model's own system text comes first unless the request brings one."""
    if spec.system and (not request.messages or request.messages[0].role != "system"):
        return (Message(role="system", content=spec.system), *request.messages)
    return request.messages


async def chat_job(
    spec: ModelSpec, request: ChatRequest, text: Text, began: float, truncate_to: int | None
) -> ChatJob:
    """`truncate_to`: drop the oldest messages until prompt and one token fit; None: never cut."""
    request = structs.replace(request, messages=messages_of(spec, request))
    think = thinks(spec, request)
    dropped = 0
    while True:
        prompt = await text.template.render(request, think)
        ids = await text.codec.encode_async(prompt)
        if truncate_to is None or len(ids) < truncate_to:
            break
        shorter = _without_oldest(request.messages)
        if len(shorter) == len(request.messages):
            raise ContextLengthExceeded(len(ids), truncate_to)
        dropped += len(request.messages) - len(shorter)
        request = structs.replace(request, messages=shorter)
    return ChatJob(
        spec=spec, request=request, prompt_ids=ids,
        sampling=request.sampling.over(spec.parameters).over(DEFAULT_SAMPLING), think=think,
        starts_in_thinking=think and prompt.opens_thinking, grammar=None, began=began,
        truncated_messages=dropped,
    )  # fmt: skip


def with_grammar(job: ChatJob, grammar: dict[str, Any]) -> ChatJob:
    return structs.replace(job, grammar=grammar)


def _without_oldest(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the first message that is neither the system's nor the last, and without the tool results it leaves."""
    first = next((i for i, message in enumerate(messages[:-1]) if message.role != "system"), None)
    if first is None:
        return messages
    end = first + 1
    while end < len(messages) - 1 and messages[end].role == "tool":
        end += 1
    return messages[:first] + messages[end:]


async def _count(codec: TextCodec, texts: tuple[str, ...]) -> list[int]:
    """Tokens of each text, in a thread when they are long together."""
    if sum(map(len, texts)) <= INLINE_CHARS:
        return [codec.count(text) for text in texts]
    return await asyncio.to_thread(lambda: [codec.count(text) for text in texts])


async def embed_job(spec: ModelSpec, request: EmbedRequest, codec: TextCodec, began: float) -> EmbedJob:
    """Raises ContextLengthExceeded for a text that is too long when the request forbids to cut it."""
    counts = await _count(codec, request.texts)
    limit = spec.context_length
    too_long = [count for count in counts if count > limit]
    if too_long and not request.truncate:
        raise ContextLengthExceeded(too_long[0], limit)
    return EmbedJob(
        spec=spec, request=request, texts=request.texts, prompt_tokens=sum(min(count, limit) for count in counts),
        truncated_texts=len(too_long), began=began,
    )  # fmt: skip
