"""How another server is spoken to: what an API must know to carry a request there and its answer back.

No I/O here and in the three that implement it (`ollama`, `openai`, `anthropic` beside this file): a request becomes a
`Call`, bytes become events. `inference.backends.remote` does the talking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from inference.events import FinishReason, ReasoningDelta, TextDelta
from inference.types import ChatRequest, EmbedRequest, ToolCall

Delta = TextDelta | ReasoningDelta | ToolCall


class WireError(Exception):
    """An error inside an answer, in that server's words, or what is wrong with the answer, in ours.

    No backend is named here: whoever talks to it makes RemoteFailed of this.
    """


class Call(Struct, frozen=True):
    """One POST."""

    path: str
    """Below the backend's URL: '/v1/chat/completions'."""
    body: bytes


class Ended(Struct, frozen=True, kw_only=True):
    """The last thing a reader gives: why the answer ended, and what it took, as far as the server said so."""

    reason: FinishReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    """Of the prompt: those it needed no prefill for."""
    load_s: float | None = None
    """What it took to load the model over there, before the prefill."""
    stop_sequence: str = ""


class Listed(Struct, frozen=True, kw_only=True):
    """A model that another server offers."""

    id: str
    """As that server spells it."""
    digest: str = ""
    size_bytes: int = 0
    parameter_count: int = 0
    context_length: int = 0
    """0: it does not say."""
    capabilities: frozenset[str] = frozenset()
    """Empty: it does not say."""


class Reader(Protocol):
    """Reads one streamed answer. Created for one request, fed its bytes in order, cut anywhere."""

    def feed(self, data: bytes) -> list[Delta | Ended]:
        """What these bytes complete; Ended once, at last. Tool calls are whole, and thoughts are left out where the
        request wants none.

        Raises WireError for an error inside the stream and for what is not in this API.
        """
        ...

    def end(self) -> list[Delta | Ended]:
        """The connection gives no more bytes: what was still held back, nothing where Ended has come already.

        Raises WireError for an answer that is not complete.
        """
        ...


class Wire(Protocol):
    """One API."""

    models_path: str

    def headers(self, key: str) -> dict[str, str]:
        """Those of every call; `key` '' is none."""
        ...

    def refuses(self, request: ChatRequest | EmbedRequest) -> str:
        """Why this API cannot carry the request, in words that follow the backend's name; '' where it can."""
        ...

    def chat(self, request: ChatRequest, model: str) -> Call:
        """Always streamed. `model`: as that server spells it."""
        ...

    def simpler(self, call: Call, words: str) -> Call | None:
        """The same call, spelled as a server wants it that refused it (400 or 422) with these words: without a field
        it does not know and whose absence changes nothing, or with one by its other name. None: the words are about
        something else. Not the same again, so it can be asked until None."""
        ...

    def reader(self, request: ChatRequest) -> Reader: ...

    def embed(self, request: EmbedRequest, model: str) -> Call:
        """For APIs that embed; `refuses` speaks for the others."""
        ...

    def vectors(self, body: bytes) -> tuple[tuple[list[float], ...], int | None]:
        """In the order of the texts, whole and as long as they came: `dimensions` and the norm are the caller's part.
        With them the prompt tokens as counted there. Raises WireError."""
        ...

    def models(self, body: bytes) -> tuple[Listed, ...]:
        """Raises WireError."""
        ...

    def refusal(self, body: bytes) -> str:
        """The words of an error's body; '' where there are none."""
        ...


Wires = Mapping[str, Wire]
"""By protocol: ollama, openai, anthropic."""
