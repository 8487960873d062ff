"""What comes back of a request: the events of a generation, in their order, and the vectors of texts.

Frozen msgspec Structs, like the requests of `inference.types`. Every dialect encodes from these.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from inference.meter import Meter
from inference.relay import Relay
from inference.route_facts import Route
from inference.shown_token import Token
from inference.types import ToolCall

FinishReason = Literal["stop", "length"]
EnergySource = Literal["measured", "estimated", "unknown"]


class Start(Struct, frozen=True, kw_only=True, tag="start"):
    """Always the first event, sent before the worker has answered: what is made of it is ready with the first token.

    Another Start takes its place while no other event has come: the next device is tried then.
    """

    route: Route
    model_digest: str
    prompt_tokens: int
    queue_s: float
    load_s: float
    truncated_messages: int = 0
    counted: bool = True
    """False: `prompt_tokens` is not known before the answer has ended."""
    meter: Meter = msgspec.field(default_factory=Meter)
    relay: Relay | None = None
    """Another way to the events between the first token's and the last ones, for who wants it."""


class TextDelta(Struct, frozen=True, tag="text"):
    text: str
    tokens: tuple[Token, ...] = ()
    """Only where the request has `logprobs`; a token whose text shows in two events is with the first."""


class ReasoningDelta(Struct, frozen=True, tag="reasoning"):
    text: str
    tokens: tuple[Token, ...] = ()


class Finish(Struct, frozen=True, kw_only=True, tag="finish"):
    """Always the last event of a generation that did not raise."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    """Of those, how many were thoughts, shown or not."""
    total_s: float
    """From the call of generate() on."""
    load_s: float
    prefill_s: float
    """From the hand-over to the worker to the first token."""
    decode_s: float
    stop_sequence: str = ""
    energy_j: float | None = None
    """The request's share; None where nothing is known of it. See `inference.energy`."""
    energy_source: EnergySource = "unknown"
    ids: list[int] = []
    """Of prompt and answer, the token that ended it included, for a request that wished so."""


class Passed(Struct, frozen=True, tag="passed"):
    """Bytes of another server that speaks the caller's own dialect: whole events of a stream, or all of an answer."""

    data: bytes


Event = Start | TextDelta | ReasoningDelta | ToolCall | Passed | Finish


class Embeddings(Struct, frozen=True, kw_only=True):
    """Vectors in request order, L2-normalised."""

    vectors: tuple[bytes, ...]
    """Each little-endian float32, as the base64 encoding of OpenAI wants it; `array('f', v)` reads it."""
    norms: tuple[float, ...]
    """The length that each vector had before."""
    prompt_tokens: int
    start: Start
    total_s: float
    truncated_tokens: int = 0
    cached: int = 0
    """Vectors that were known from before."""
    passed: bytes = b""
    """The answer of another server that speaks the caller's own dialect; there are no `vectors` then."""
    energy_j: float | None = None
    energy_source: EnergySource = "unknown"
