"""What a dialect is: how a request is read, how an answer is written. No I/O, as in the dialects' folders."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from inference.events import Embeddings, Event
from inference.tokenizer import TextCodec
from inference.types import ChatRequest, EmbedRequest, LoadRequest

NDJSON = b"application/x-ndjson"
SSE = b"text/event-stream"
SSE_UTF8 = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
JSON_UTF8 = b"application/json; charset=utf-8"

_ODD_LINE_ENDS = tuple((chr(code).encode(), b"\\u%04x" % code) for code in (0x85, 0x2028, 0x2029))


class Preload(Struct, frozen=True):
    """A request that generates nothing: load the model, or with keep_alive 0 unload it."""

    request: LoadRequest
    answer: Callable[[str], bytes]
    """The body for done_reason 'load' or 'unload'."""


class Several(Struct, frozen=True):
    """One request that wants several answers, all by the same model."""

    requests: tuple[ChatRequest, ...]
    choices_each: int
    """So many in a row are of one prompt."""


class SeveralEncoder(Protocol):
    """As `Encoder`, for answers that come at the same time."""

    def event(self, index: int, event: Event) -> bytes: ...
    def whole(self, answers: Sequence[Sequence[Event]]) -> bytes: ...
    def error(self, status: int, message: str, code: str | None) -> bytes: ...


class Encoder(Protocol):
    """Writes one answer. Created for one request, fed its events in order."""

    def event(self, event: Event) -> bytes:
        """The bytes a stream carries for `event`, framed; b'' for what the dialect does not show."""
        ...

    def whole(self, events: Sequence[Event]) -> bytes:
        """The body of an answer that is not streamed; `events` are all of it."""
        ...

    def error(self, status: int, message: str, code: str | None) -> bytes:
        """The last bytes of a stream that failed after its first event, framed."""
        ...


class Dialect(Struct, frozen=True):
    """One endpoint that generates, as a value: the driver knows nothing else of it."""

    stream_type: bytes
    whole_type: bytes
    parse: Callable[[bytes], ChatRequest | Preload | Several]
    """Raises BadRequest that names the first fault."""
    encoder: Callable[[ChatRequest], Encoder]
    several: Callable[[Several], SeveralEncoder] | None = None
    """Of a dialect whose `parse` may give Several."""
    with_texts: Callable[[ChatRequest | Several, TextCodec], Awaitable[ChatRequest | Several]] | None = None
    """Adds what only the model's tokenizer knows."""
    zero_is_none: bool = False
    """A limit of 0 tokens asks for none: the prompt alone is answered. Elsewhere it is no limit. Needs `several`."""


class EmbeddingDialect(Struct, frozen=True):
    """One endpoint that embeds."""

    whole_type: bytes
    parse: Callable[[bytes], EmbedRequest]
    answer: Callable[[EmbedRequest, Embeddings | None], bytes]
    """None for an answer without texts to embed."""


def floats(vector: bytes) -> list[float]:
    """A vector as JSON wants it."""
    return array("f", vector).tolist()


def unbroken(stream: bytes) -> bytes:
    """Lines of JSON in which nothing but a line end is one for anybody: Python's `splitlines`, by which httpx and the
    clients built on it read, takes U+0085, U+2028 and U+2029 for line ends too."""
    if stream.isascii():
        return stream
    for character, escaped in _ODD_LINE_ENDS:
        stream = stream.replace(character, escaped)
    return stream


def ndjson(payload: bytes) -> bytes:
    return payload + b"\n"


def sse(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"
