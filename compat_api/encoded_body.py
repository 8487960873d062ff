"""Content-Encoding of a request body: zstd, as Codex sends it, and gzip."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Protocol

import zstandard

from compat_api.refusals import BodyTooLarge
from inference.errors import BadRequest

MAX_PLAIN_BYTES = 20 * 1024 * 1024
"""Of a compressed body, once it is plain (api-contract 1.1)."""

MAX_PARTS = 4096
"""Members of gzip or frames of zstd, which either format may have in a row: an empty one has 20 bytes or 9, and costs
far more to begin than to send."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""zlib reads gzip's header and checks its sum."""

_GZIP_STEP_BYTES = 4 * 1024
_ZSTD_STEP_BYTES = 512
"""Given to a decoder at a time: neither makes more than 16 MiB of so many (a block of zstd is 128 KiB out of 4 bytes,
gzip's best is 1 : 1032), which is what the memory grows by beyond the limit."""


class Decoder(Protocol):
    """Of one member or frame: zlib's and zstandard's alike."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def encoding_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """b'' for a body that is as it is."""
    encoding = next((value for name, value in headers if name == b"content-encoding"), b"").strip().lower()
    return b"" if encoding == b"identity" else encoding


def plain(body: bytes, encoding: bytes) -> bytes:
    """The body as it was before it was encoded; up to 0.2 s. Raises BadRequest, and BodyTooLarge."""
    if encoding == b"zstd":
        context = zstandard.ZstdDecompressor(max_window_size=MAX_PLAIN_BYTES)
        return _decoded(body, "zstd", context.decompressobj, _ZSTD_STEP_BYTES)
    if encoding in (b"gzip", b"x-gzip"):
        return _decoded(body, "gzip", lambda: zlib.decompressobj(_GZIP_WINDOW), _GZIP_STEP_BYTES)
    name = encoding[:40].decode("latin-1")
    raise _refused(f"{name!r} is not accepted here; send zstd, gzip, or the body as it is")


def _decoded(body: bytes, name: str, begin: Callable[[], Decoder], step_bytes: int) -> bytes:
    """All members or frames of `body`, one behind the other, and nothing else."""
    decoded: list[bytes] = []
    room, at = MAX_PLAIN_BYTES, 0
    for _ in range(MAX_PARTS):
        decoder = begin()
        while not decoder.eof:
            if at >= len(body):
                raise _refused(f"the body is not {name}: it ends too early")
            given = body[at : at + step_bytes]
            at += len(given)
            try:
                decoded.append(decoder.decompress(given))
            except (zlib.error, zstandard.ZstdError, MemoryError) as error:
                raise _refused(f"the body is not {name}: {error}") from None
            room -= len(decoded[-1])
            if room < 0:
                raise BodyTooLarge(f"Content-Encoding: more than {MAX_PLAIN_BYTES} bytes when decompressed")
        at -= len(decoder.unused_data)
        if at == len(body):
            return b"".join(decoded)
    raise _refused(f"more than {MAX_PARTS} parts of {name} in a row")


def _refused(why: str) -> BadRequest:
    return BadRequest(f"Content-Encoding: {why}", "Content-Encoding")
