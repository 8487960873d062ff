"""Content-Encoding of a request body: zstd, as Codex sends it, and gzip."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import zstandard

from inference.errors import BadRequest

MAX_PLAIN_BYTES = 20 * 1024 * 1024
"""Of a compressed body, once it is plain (api-contract 1.1)."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""zlib reads gzip's header and checks its sum."""


def encoding_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """b'' for a body that is as it is."""
    encoding = next((value for name, value in headers if name == b"content-encoding"), b"").strip().lower()
    return b"" if encoding == b"identity" else encoding


def plain(body: bytes, encoding: bytes) -> bytes:
    """The body as it was before it was encoded; up to 60 ms. Raises BadRequest."""
    if encoding == b"zstd":
        decoded = _zstd(body)
    elif encoding in (b"gzip", b"x-gzip"):
        decoded = _gzip(body)
    else:
        name = encoding[:40].decode("latin-1")
        raise _refused(f"{name!r} is not accepted here; send zstd, gzip, or the body as it is")
    if len(decoded) > MAX_PLAIN_BYTES:
        raise _refused(f"more than {MAX_PLAIN_BYTES} bytes when decompressed")
    return decoded


def _zstd(body: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=MAX_PLAIN_BYTES).stream_reader(body) as reader:
            return bytes(reader.read(MAX_PLAIN_BYTES + 1))
    except (zstandard.ZstdError, MemoryError) as error:
        raise _refused(f"the body is not zstd: {error}") from None


def _gzip(body: bytes) -> bytes:
    decoder = zlib.decompressobj(_GZIP_WINDOW)
    try:
        decoded = decoder.decompress(body, MAX_PLAIN_BYTES + 1)
    except zlib.error as error:
        raise _refused(f"the body is not gzip: {error}") from None
    if not decoder.eof and len(decoded) <= MAX_PLAIN_BYTES:
        raise _refused("the body is not gzip: it ends too early")
    return decoded


def _refused(why: str) -> BadRequest:
    return BadRequest(f"Content-Encoding: {why}", "Content-Encoding")
