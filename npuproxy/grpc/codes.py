"""HTTP status -> gRPC status: the one table, behind `compat_api.errors`, which makes failures out of errors."""

from __future__ import annotations

from typing import Final

from grpc import StatusCode

from compat_api.errors import CLIENT_GONE, Failure

_CODES: Final = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    413: StatusCode.RESOURCE_EXHAUSTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    CLIENT_GONE: StatusCode.CANCELLED,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
    507: StatusCode.RESOURCE_EXHAUSTED,
}
ALL: Final = frozenset((*_CODES.values(), StatusCode.INTERNAL))
_LONGEST_BYTES: Final = 1_200
"""Details are sent as a header, where a byte beyond ASCII takes three; clients take 8 KiB of them in all."""


def code(status: int) -> StatusCode:
    """What another server said of the request, in whatever status of 4xx, is a fault of the request."""
    usual = StatusCode.INVALID_ARGUMENT if 400 <= status < 500 else StatusCode.INTERNAL
    return _CODES.get(status, usual)


def details(failure: Failure) -> str:
    words = failure.message.encode()
    if len(words) <= _LONGEST_BYTES:
        return failure.message
    return words[:_LONGEST_BYTES].decode(errors="ignore") + " …"


def trailers(failure: Failure) -> tuple[tuple[str, str], ...]:
    """What HTTP says in headers; and when to try again, as gRPC's own retries read it."""
    found = [(name.lower(), value) for name, value in failure.headers.items()]
    if failure.code:
        found.append(("x-npu-proxy-error-code", failure.code))
    wait_s = failure.headers.get("Retry-After", "")
    if wait_s.isdigit():
        found.append(("grpc-retry-pushback-ms", str(int(wait_s) * 1000)))
    return tuple(found)
