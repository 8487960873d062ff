"""Messages of clients: a request to generate, or the wish to end one (routing-spec 7)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from compat_api import headers, images
from compat_api.decoding import BodyDecoder
from compat_api.refusals import refuse_many, require_model
from compat_api.tools import role_name
from inference.errors import BadRequest
from inference.sampling import bounded
from inference.types import ChatRequest, Message, Placement, Sampling

LONGEST_ID = 128
_KINDS = (None, "generate", "chat", "cancel")
_EMPTY = "an empty message; send a JSON object"


class WireEnvelope(Struct):
    type: Any = None
    request_id: Any = None


class WireOptions(Struct):
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None


class WireMessage(Struct):
    role: str | None = None
    content: str | None = None
    images: list[str] | None = None


class WireRequest(Struct):
    model: str | None = None
    prompt: str | None = None
    messages: list[WireMessage] | None = None
    options: WireOptions | None = None
    stream: bool | None = None
    think: bool | None = None
    priority: str | None = None
    max_latency_ms: float | None = None


class Envelope(Struct, frozen=True):
    """Whose message it is. `request_id` is '' where the client gave none."""

    request_id: str
    cancels: bool


class Wish(Struct, frozen=True):
    """What the body of a request says of its placement; None leaves it to the handshake's headers."""

    priority: int | None = None
    max_latency_ms: float | None = None

    def over(self, wished: Placement) -> dict[str, Any]:
        """The fields of a Placement that change."""
        fields: dict[str, Any] = {}
        if self.priority is not None:
            critical = self.priority == headers.CRITICAL
            fields = {"priority": self.priority, "latency_critical": critical or wished.latency_critical}
        if self.max_latency_ms is not None:
            fields["max_latency_ms"] = self.max_latency_ms
        return fields


_decode_envelope = BodyDecoder(WireEnvelope, "StreamRequest", _EMPTY)
_decode = BodyDecoder(WireRequest, "StreamRequest", _EMPTY)


def envelope(body: bytes) -> Envelope:
    """Raises BadRequest where not even that can be read."""
    wire = _decode_envelope(body)
    given = wire.request_id
    if given is not None and not (isinstance(given, str) and 0 < len(given) <= LONGEST_ID):
        raise BadRequest(f'"request_id" must be a text of 1 to {LONGEST_ID} characters', "request_id")
    return Envelope(given or "", wire.type == "cancel")


def parse(body: bytes) -> tuple[ChatRequest, Wish]:
    """Raises BadRequest that names the first fault."""
    kind = _decode_envelope(body).type
    if kind not in _KINDS:
        raise BadRequest(f'"type": {str(kind)[:40]!r} is none of generate, chat and cancel', "type")
    wire = _decode(body)
    request = ChatRequest(
        model=require_model(wire.model),
        messages=_messages(wire),
        think=wire.think,
        sampling=_sampling(wire.options or WireOptions()),
        stream=wire.stream is not False,
    )
    return request, _wish(wire)


def _messages(wire: WireRequest) -> tuple[Message, ...]:
    if wire.prompt and wire.messages:
        raise BadRequest('give "prompt" or "messages", not both', "prompt")
    if wire.prompt:
        return (Message(role="user", content=wire.prompt),)
    if not wire.messages:
        raise BadRequest('"prompt" or "messages" is required', "prompt")
    refuse_many("messages", wire.messages)
    return tuple(_message(f"messages[{index}]", message) for index, message in enumerate(wire.messages))


def _message(field: str, wire: WireMessage) -> Message:
    if not wire.role:
        raise BadRequest(f'"{field}.role" is required', f"{field}.role")
    shown = images.listed(f"{field}.images", wire.images)
    message = Message(role=role_name(wire.role), content=wire.content or "", images=shown)
    return images.of_the_user_alone(f"{field}.images", message)


def _sampling(wire: WireOptions) -> Sampling:
    stop = (wire.stop,) if isinstance(wire.stop, str) else wire.stop
    return bounded(
        Sampling(
            temperature=wire.temperature,
            top_p=wire.top_p,
            top_k=wire.top_k,
            max_tokens=wire.max_tokens,
            stop=None if stop is None else tuple(text for text in stop if text),
            seed=wire.seed,
        )
    )


def _wish(wire: WireRequest) -> Wish:
    latency_ms = wire.max_latency_ms
    if latency_ms is not None and latency_ms <= 0:
        raise BadRequest(f'"max_latency_ms": {latency_ms:g} is not a number greater than 0', "max_latency_ms")
    return Wish(headers.priority("priority", wire.priority) if wire.priority else None, latency_ms)
