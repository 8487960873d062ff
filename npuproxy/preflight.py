"""What a browser is told that asks before a page of another origin may ask. Pure."""

from __future__ import annotations

from npuproxy.peers import Header

_STAINLESS = (
    *("arch", "async", "custom-poll-interval", "helper-method", "lang", "os", "package-version"),
    *("helper", "poll-helper", "retry-count", "runtime", "runtime-version", "timeout"),
)
_ALLOW_HEADERS = ",".join(
    (
        *("Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta"),
        *(f"x-stainless-{name}" for name in _STAINLESS),
        *("x-api-key", "anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"),
    )
).encode()
_ALLOW_METHODS = b"GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"


def allowed(headers: list[Header]) -> list[Header]:
    """Beside the headers that name the origin: what its pages may send."""
    fields = [
        (b"access-control-allow-methods", _ALLOW_METHODS),
        (b"access-control-allow-headers", _ALLOW_HEADERS),
        (b"access-control-max-age", b"43200"),
    ]
    if (b"access-control-request-private-network", b"true") in headers:
        fields.append((b"access-control-allow-private-network", b"true"))
    return fields
