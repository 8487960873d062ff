"""Images in requests: base64 as each API writes it. What the bytes are is looked at later, and only for a model that
looks at images (`inference.vision`)."""

from __future__ import annotations

import base64
import binascii
import re

from inference.errors import BadRequest
from inference.types import Image, Message

_DATA_URI = re.compile(
    r"data:image/(png|jpeg|jpg|webp|gif|bmp)(;[\w.=-]+)*;base64,", re.ASCII | re.IGNORECASE
)
URL_FAULT = "image URLs are not currently supported, please use base64 encoded data instead"
"""Of addresses: nothing is ever fetched for a request, from whatever place."""


def decoded(field: str, text: object, at: int = 0) -> Image:
    """Plain base64, line ends in it allowed, as Go reads it. Raises BadRequest."""
    if not isinstance(text, str):
        raise BadRequest(f'"{field}" must be a text of base64', field)
    try:
        data = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        raise BadRequest(f'"{field}": illegal base64 data{_hint(text)}', field) from None
    if not data:
        raise BadRequest(f'"{field}" is empty; give an image in base64', field)
    return Image(data=data, field=field, at=at)


def _hint(text: str) -> str:
    return "; leave out what stands before the comma" if text.startswith("data:") else ""


def from_uri(field: str, url: str, at: int = 0) -> Image:
    """A data URI of OpenAI's APIs. Raises BadRequest."""
    if url.lower().startswith(("http://", "https://")):
        raise BadRequest(URL_FAULT, field)
    match = _DATA_URI.match(url)
    if match is None:
        raise BadRequest(
            f'invalid image input: "{field}" is no data URI (data:image/png;base64,… say)', field
        )
    return decoded(field, url[match.end() :], at)


class Parts:
    """The parts of one content in their order: its text, in which they are joined by line ends, and its images."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._chars = 0
        self._images: list[Image] = []

    def say(self, text: str) -> None:
        self._chars += len(text) + bool(self._texts)
        self._texts.append(text)

    def show(self, field: str, *, base64: object = None, uri: str = "") -> None:
        """Raises BadRequest."""
        read = from_uri(field, uri, self._chars) if base64 is None else decoded(field, base64, self._chars)
        self._images.append(read)

    @property
    def text(self) -> str:
        return "\n".join(self._texts)

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(self._images)

    def __bool__(self) -> bool:
        return bool(self._images) or any(self._texts)


def listed(field: str, given: list[str] | None) -> tuple[Image, ...]:
    """Ollama's `images`, which come before the text of their message. Raises BadRequest."""
    return tuple(decoded(f"{field}[{index}]", text) for index, text in enumerate(given or ()))


def of_the_user_alone(field: str, message: Message) -> Message:
    """Raises BadRequest for images in what the model itself has said."""
    if message.images and message.role == "assistant":
        raise BadRequest(f'"{field}": an assistant\'s turn has no images', message.images[0].field)
    return message
