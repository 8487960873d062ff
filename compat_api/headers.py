"""The X- headers: wishes about placement in, facts about the route out (routing-spec 4 and 6)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from compat_api import errors
from inference.errors import BadRequest
from inference.types import Placement, Start

_DEVICE = re.compile(r"(?:NPU|GPU|CPU)(?:\.\d{1,2})?", re.IGNORECASE)
_PRIORITIES = {"best-effort": 0, "low": 0, "normal": 1, "high": 2, "critical": 3, "realtime": 3}
_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})
_MEDIA = {"text": 1, "code": 1, "image": 1, "audio": 2, "video": 1, "realtime": 3, "auto": 1}
"""With the priority of a request that asks for none (routing-spec 4)."""
_HINTS = {
    b"x-latency-critical": "X-Latency-Critical",
    b"x-power-efficient": "X-Power-Efficient",
    b"x-remote-allowed": "X-Remote-Allowed",
    b"x-max-latency-ms": "X-Max-Latency-Ms",
    b"x-max-power-watts": "X-Max-Power-Watts",
}
"""Hints to the router: a bad value is refused, a good one changes nothing where one local device can answer."""
_DECIMAL = re.compile(r"\d{1,9}(?:\.\d{1,6})?")
_LONGEST_DEADLINE_MS = 86_400_000
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_LONGEST_VALUE = 200


def placement(headers: Iterable[tuple[bytes, bytes]], option: str = "") -> Placement:
    """The caller's wishes. `option` is the body's options.device; a header wins. Raises BadRequest."""
    device, strict, deadline_ms = device_name("options.device", option), False, None
    priority: int | None = None
    backend, cache, usual_priority = "", True, 1
    for raw_name, raw_value in headers:
        if not raw_name.startswith(b"x-"):
            continue
        value = raw_value.decode("latin-1").strip()
        match raw_name:
            case b"x-npu-proxy-device":
                device = device_name("X-NPU-Proxy-Device", value) or device
            case b"x-target-backend":
                backend = device_name("X-Target-Backend", value)
            case b"x-target-strict":
                strict = _truth("X-Target-Strict", value)
            case b"x-cache-enabled":
                cache = not value or _truth("X-Cache-Enabled", value)
            case b"x-priority":
                priority = _priority(value)
            case b"x-deadline-ms":
                deadline_ms = _deadline_ms(value)
            case b"x-media-type":
                usual_priority = _media_priority(value)
            case _ if raw_name in _HINTS:
                _check_hint(raw_name, value)
    return Placement(
        device=backend or device,
        strict=strict,
        priority=usual_priority if priority is None else priority,
        deadline_ms=deadline_ms,
        cache=cache,
    )


def device_name(field: str, value: str) -> str:
    """Upper case; '' for no wish and for AUTO."""
    if not value or value.upper() == "AUTO":
        return ""
    if not _DEVICE.fullmatch(value):
        raise BadRequest(f"{field}: {value!r} is not a device; give NPU, GPU, GPU.1, CPU or AUTO", field)
    return value.upper()


def _check_hint(raw_name: bytes, value: str) -> None:
    field = _HINTS[raw_name]
    if raw_name.startswith(b"x-max-"):
        if not _DECIMAL.fullmatch(value) or float(value) <= 0:
            raise BadRequest(f"{field}: {value!r} is not a number greater than 0", field)
    else:
        _truth(field, value)


def _truth(field: str, value: str) -> bool:
    if value.lower() in _YES:
        return True
    if value.lower() in _NO or not value:
        return False
    raise BadRequest(f"{field}: {value!r} is neither true nor false", field)


def _priority(value: str) -> int:
    level = _PRIORITIES.get(value.lower())
    if level is None:
        names = ", ".join(_PRIORITIES)
        raise BadRequest(f"X-Priority: {value!r} is not one of {names}", "X-Priority")
    return level


def _media_priority(value: str) -> int:
    priority = _MEDIA.get(value.lower())
    if priority is None:
        raise BadRequest(f"X-Media-Type: {value!r} is not one of {', '.join(sorted(_MEDIA))}", "X-Media-Type")
    return priority


def _deadline_ms(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:12]) <= _LONGEST_DEADLINE_MS:
        wanted = f"a whole number of milliseconds from 1 to {_LONGEST_DEADLINE_MS}"
        raise BadRequest(f"X-Deadline-Ms: {value!r} is not {wanted}", "X-Deadline-Ms")
    return int(value)


def of_start(start: Start, truncated_tokens: int = 0) -> errors.Headers:
    """What every generation and embedding says before its first byte."""
    route = start.route
    facts = [
        ("x-npu-proxy-device", route.executed),
        ("x-npu-proxy-requested-device", route.requested),
        ("x-npu-proxy-routed-device", route.routed),
        ("x-npu-proxy-execution-device", route.executed),
        ("x-npu-proxy-route-reason", route.reason),
        ("x-npu-proxy-token-count", str(start.prompt_tokens)),
        ("x-npu-proxy-model", start.model_digest),
        ("x-npu-proxy-fallback", "true" if route.fell_back else "false"),
        ("x-npu-proxy-queue-ms", f"{start.queue_s * 1000:.1f}"),
        ("x-backend-used", route.routed),
        ("x-routing-reason", route.reason.replace("_", "-")),
    ]
    if route.fell_back:
        facts.append(("x-npu-proxy-fallback-reason", route.fallback_reason))
    if route.alternatives:
        facts.append(("x-alternatives", ", ".join(route.alternatives)))
    if start.truncated_messages:
        facts.append(("x-npu-proxy-truncated-messages", str(start.truncated_messages)))
    if truncated_tokens:
        facts.append(("x-npu-proxy-truncated-tokens", str(truncated_tokens)))
    return [(name.encode(), _printable(value)) for name, value in facts]


def _printable(value: str) -> bytes:
    """A runtime's words may hold anything; a header value must be one short line of ASCII."""
    return _UNPRINTABLE.sub(" ", value)[:_LONGEST_VALUE].encode()
