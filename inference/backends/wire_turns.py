"""Turns as other servers want them: calls and results that know each other, images that say what they are."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from inference.types import Image, Message, ToolCall

_HEADS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


def media_type(data: bytes) -> str:
    """By the first bytes of a file, whatever it was called."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for head, kind in _HEADS if data.startswith(head)), "application/octet-stream")


def base64_of(image: Image) -> str:
    return base64.b64encode(image.data).decode()


def pieces(message: Message) -> list[str | Image]:
    """What a turn says and shows, in its order; no text is empty."""
    parts: list[str | Image] = []
    at = 0
    for image in message.images:
        parts += [message.content[at : image.at], image] if image.at > at else [image]
        at = max(at, image.at)
    return [*parts, message.content[at:]] if message.content[at:] else parts


def with_ids(messages: Iterable[Message]) -> list[Message]:
    """The same turns with an id for each call and each result, for APIs that match them by nothing else.

    Ollama's clients give none: a result without one is of the first unanswered call of its name, else of the first
    unanswered one. Ids that are made are the same each time, so that caches of prefixes hold, and of nine letters and
    digits, which is all that Mistral's templates take.
    """
    turns: list[Message] = []
    made = 0
    waiting: list[ToolCall] = []
    for message in messages:
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                if not call.id:
                    call, made = structs.replace(call, id=f"call{made:05d}"), made + 1
                calls.append(call)
            message, waiting = structs.replace(message, tool_calls=tuple(calls)), calls
        elif message.role == "tool":
            if not message.tool_call_id and waiting:
                named = [call for call in waiting if call.name == message.tool_name] or waiting
                message = structs.replace(message, tool_call_id=named[0].id)
            waiting = [call for call in waiting if call.id != message.tool_call_id]
        turns.append(message)
    return turns
