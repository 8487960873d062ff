"""Image files for the tests of models that look at images, and the ways in which each API writes them."""

from __future__ import annotations

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

QUESTION = "What is this?"
ABOUT = {"red": "tool_calls", "lime": "Efficiency", "blue": "apikey"}
"""What the tiny model (vision_models) speaks of when it is asked about a square of one colour."""


def picture(colour: str, size: tuple[int, int] = (64, 48), form: str = "PNG", **how: Any) -> bytes:
    with BytesIO() as file:
        Image.new("RGB", size, colour).save(file, form, **how)
        return file.getvalue()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def uri(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{text_of(data)}"


def url_part(data: bytes) -> dict[str, Any]:
    """Of OpenAI's chat."""
    return {"type": "image_url", "image_url": {"url": uri(data)}}


def block(data: bytes) -> dict[str, Any]:
    """Of Anthropic's messages."""
    source = {"type": "base64", "media_type": "image/png", "data": text_of(data)}
    return {"type": "image", "source": source}


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be so large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
