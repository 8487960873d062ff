"""Messages to clients: a token each, and a last one with the figures (routing-spec 7)."""

from __future__ import annotations

from typing import Any

import orjson

from compat_api.errors import Failure
from inference.energy import UNKNOWN, Energy
from inference.events import Event, Finish, ReasoningDelta, Start, TextDelta

_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "not_allowed",
    404: "not_found",
    413: "too_large",
    429: "rate_limit_exceeded",
    502: "backend_failed",
    503: "unavailable",
    504: "timeout",
    508: "request_loop",
}


class Encoder:
    """Writes one answer, from its first token on. `whole`: the text comes with the last message."""

    def __init__(self, request_id: str, whole: bool, start: Start, ttft_s: float) -> None:
        self._start = start
        self._id = request_id
        self._ttft_ms = round(ttft_s * 1000, 1)
        self._texts: list[str] | None = [] if whole else None
        self._thoughts: list[str] = []
        head = orjson.dumps({"request_id": request_id, "ttft_ms": self._ttft_ms, "done": False})
        self._head = head[:-1] + b',"token":'

    def event(self, event: Event) -> bytes:
        """b'' for what is not shown now."""
        if isinstance(event, TextDelta):
            if self._texts is None:
                return self._head + orjson.dumps(event.text) + b"}"
            self._texts.append(event.text)
        elif isinstance(event, ReasoningDelta):
            if self._texts is None:
                return self._head + b'"","thinking":' + orjson.dumps(event.text) + b"}"
            self._thoughts.append(event.text)
        return b""

    def last(self, finish: Finish, total_s: float) -> bytes:
        energy = Energy(joules=finish.energy_j, source=finish.energy_source)
        return self._last(finish.reason, finish.completion_tokens, finish.decode_s, total_s, energy)

    def cancelled(self, total_s: float) -> bytes:
        """The client wished no more of it."""
        decode_s = total_s - self._ttft_ms / 1000
        return self._last("cancelled", self._start.meter.completion_tokens, decode_s, total_s)

    def failed(self, failure: Failure, total_s: float) -> bytes:
        """In the place of the rest of the answer."""
        return orjson.dumps(
            _error(self._id, failure)
            | {
                "ttft_ms": self._ttft_ms,
                "total_time_ms": round(total_s * 1000, 1),
                "token_count": self._start.meter.completion_tokens,
                "backend": self._start.route.routed,
            }
        )

    def _last(
        self, reason: str, tokens: int, decode_s: float, total_s: float, energy: Energy = UNKNOWN
    ) -> bytes:
        fields: dict[str, Any] = {
            "request_id": self._id,
            "token": "".join(self._texts or ()),
            "done": True,
            "ttft_ms": self._ttft_ms,
            "total_time_ms": round(total_s * 1000, 1),
            "token_count": tokens,
            "tokens_per_sec": round(tokens / decode_s, 2) if decode_s > 0 else None,
            "backend": self._start.route.routed,
            "reason": self._start.route.reason,
            "finish_reason": reason,
            "energy_j": None if energy.joules is None else round(energy.joules, 4),
            "energy_source": energy.source,
        }
        if self._thoughts:
            fields["thinking"] = "".join(self._thoughts)
        return orjson.dumps(fields)


def cancelled(request_id: str) -> bytes:
    """The last message of a request that was cancelled before its first token."""
    return orjson.dumps(
        {"request_id": request_id, "token": "", "done": True, "token_count": 0, "finish_reason": "cancelled"}
    )


def error(request_id: str | None, failure: Failure) -> bytes:
    """`request_id` None: nobody knows whose message it was."""
    return orjson.dumps(_error(request_id, failure))


def _error(request_id: str | None, failure: Failure) -> dict[str, Any]:
    usual = "invalid_request" if 400 <= failure.status < 500 else "internal_error"
    code = failure.code or _CODES.get(failure.status, usual)
    return {"request_id": request_id, "error": failure.message, "code": code, "done": True}
