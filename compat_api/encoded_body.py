"""Content-Encoding of a request body: zstd on /v1, as Codex sends it; nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import zstandard

from inference.errors import BadRequest

MAX_PLAIN_BYTES = 20 * 1024 * 1024
"""Of a compressed body, once it is plain (api-contract 1.1)."""


def plain(body: bytes, headers: Iterable[tuple[bytes, bytes]], dialect: str) -> bytes:
    """The body as it was before it was encoded. Raises BadRequest."""
    encoding = next((value for name, value in headers if name == b"content-encoding"), b"").strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding != b"zstd" or dialect != "openai":
        name = encoding[:40].decode("latin-1")
        raise BadRequest(
            f"Content-Encoding: {name!r} is not accepted here; send the body as it is", "Content-Encoding"
        )
    try:
        with zstandard.ZstdDecompressor(max_window_size=MAX_PLAIN_BYTES).stream_reader(body) as reader:
            decoded = reader.read(MAX_PLAIN_BYTES + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise BadRequest(f"Content-Encoding: the body is not zstd: {error}", "Content-Encoding") from None
    if len(decoded) > MAX_PLAIN_BYTES:
        raise BadRequest(
            f"Content-Encoding: more than {MAX_PLAIN_BYTES} bytes when decompressed", "Content-Encoding"
        )
    return bytes(decoded)
