"""The X- headers: wishes about placement in, facts about the route out (routing-spec 4 and 6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compat_api import errors
from inference.energy import Energy
from inference.errors import BadRequest
from inference.events import Start
from inference.types import Placement

_DEVICE = re.compile(r"(?:NPU|GPU|CPU)(?:\.\d{1,2})?", re.IGNORECASE)
CRITICAL = 3
_BACKEND = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Another server; whether there is one of that name the router says."""
_PRIORITIES = {
    "best-effort": 0,
    "low": 0,
    "normal": 1,
    "high": 2,
    "critical": CRITICAL,
    "realtime": CRITICAL,
}
_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})
_MEDIA = {"text": 1, "code": 1, "image": 1, "audio": 2, "video": 1, "realtime": CRITICAL, "auto": 1}
"""With the priority of a request that asks for none (routing-spec 4)."""
_DECIMAL = re.compile(r"\d{1,9}(?:\.\d{1,6})?")
_LONGEST_DEADLINE_MS = 86_400_000
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_LONGEST_VALUE = 200


def placement(
    headers: Iterable[tuple[bytes, bytes]], option: str = "", default_priority: int = 1
) -> Placement:
    """The caller's wishes. `option` is the body's options.device; a header wins. `default_priority`: of a caller who
    asks for none. Raises BadRequest."""
    given = {name: value.decode("latin-1").strip() for name, value in headers if name.startswith(b"x-")}
    wishes: dict[str, Any] = {"device": device_name("options.device", option)}
    if via := [value.decode("latin-1") for name, value in headers if name == b"x-npu-proxy-via"]:
        wishes["via"] = ", ".join(via)
    for name, read in _WISHES.items():
        if name in given:
            wishes |= read(given[name])
    wishes.setdefault("priority", default_priority)
    wishes["latency_critical"] = wishes.get("latency_critical") or wishes.get("priority") == CRITICAL
    return Placement(**wishes)


def device_name(field: str, value: str) -> str:
    """A device in upper case, or the name of a backend; '' for no wish and for AUTO."""
    if not value or value.upper() == "AUTO":
        return ""
    if _DEVICE.fullmatch(value):
        return value.upper()
    if not _BACKEND.fullmatch(value):
        raise BadRequest(
            f"{field}: {value!r} is not a device; give NPU, GPU, GPU.1, CPU, AUTO or the name of a backend",
            field,
        )
    return value


def _device(field: str) -> Callable[[str], dict[str, Any]]:
    def read(value: str) -> dict[str, Any]:
        name = device_name(field, value)
        return {"device": name} if name else {}

    return read


def _flag(field: str, wish: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {wish: _truth(field, value)} if value else {}


def _amount(field: str, wish: str) -> Callable[[str], dict[str, Any]]:
    def read(value: str) -> dict[str, Any]:
        if not _DECIMAL.fullmatch(value) or float(value) <= 0:
            raise BadRequest(f"{field}: {value!r} is not a number greater than 0", field)
        return {wish: float(value)}

    return read


def _truth(field: str, value: str) -> bool:
    if value.lower() in _YES:
        return True
    if value.lower() in _NO or not value:
        return False
    raise BadRequest(f"{field}: {value!r} is neither true nor false", field)


def _level(field: str, levels: Mapping[str, int]) -> Callable[[str], dict[str, Any]]:
    def read(value: str) -> dict[str, Any]:
        level = levels.get(value.lower())
        if level is None:
            raise BadRequest(f"{field}: {value!r} is not one of {', '.join(levels)}", field)
        return {"priority": level}

    return read


def priority(field: str, name: str) -> int:
    """The level of a request that asks for one in its body. Raises BadRequest."""
    level: int = _level(field, _PRIORITIES)(name)["priority"]
    return level


def _deadline_ms(value: str) -> dict[str, Any]:
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:12]) <= _LONGEST_DEADLINE_MS:
        wanted = f"a whole number of milliseconds from 1 to {_LONGEST_DEADLINE_MS}"
        raise BadRequest(f"X-Deadline-Ms: {value!r} is not {wanted}", "X-Deadline-Ms")
    return {"deadline_ms": int(value)}


def _remote_allowed(value: str) -> dict[str, Any]:
    if not value or _truth("X-Remote-Allowed", value):
        return {"remote": True}
    return {"remote": False, "kept_by": ("X-Remote-Allowed: false",)}


_WISHES: dict[bytes, Callable[[str], dict[str, Any]]] = {
    b"x-npu-proxy-device": _device("X-NPU-Proxy-Device"),
    b"x-target-backend": _device("X-Target-Backend"),
    b"x-target-strict": _flag("X-Target-Strict", "strict"),
    b"x-latency-critical": _flag("X-Latency-Critical", "latency_critical"),
    b"x-power-efficient": _flag("X-Power-Efficient", "power_efficient"),
    b"x-max-latency-ms": _amount("X-Max-Latency-Ms", "max_latency_ms"),
    b"x-max-power-watts": _amount("X-Max-Power-Watts", "max_watts"),
    b"x-remote-allowed": _remote_allowed,
    b"x-cache-enabled": _flag("X-Cache-Enabled", "cache"),
    b"x-media-type": _level("X-Media-Type", _MEDIA),
    b"x-priority": _level("X-Priority", _PRIORITIES),
    b"x-deadline-ms": _deadline_ms,
}
"""By header; a later one wins over an earlier one that says the same."""


def of_start(start: Start, truncated_tokens: int = 0) -> errors.Headers:
    """What every generation and embedding says before its first byte."""
    route = start.route
    facts = [
        ("x-npu-proxy-device", route.executed),
        ("x-npu-proxy-requested-device", route.requested),
        ("x-npu-proxy-routed-device", route.routed),
        ("x-npu-proxy-execution-device", route.executed),
        ("x-npu-proxy-route-reason", route.reason),
        ("x-npu-proxy-fallback", "true" if route.fell_back else "false"),
        ("x-npu-proxy-queue-ms", f"{start.queue_s * 1000:.1f}"),
        ("x-backend-used", route.routed),
        ("x-routing-reason", route.reason.replace("_", "-")),
    ]
    if start.counted:
        facts.append(("x-npu-proxy-token-count", str(start.prompt_tokens)))
    if start.model_digest:
        facts.append(("x-npu-proxy-model", start.model_digest))
    if route.estimated_s is not None and route.estimated_watts is not None:
        watts = f"{route.estimated_watts:.1f}"
        facts.append(("x-estimated-latency-ms", f"{route.estimated_s * 1000:.0f}"))
        facts += [("x-estimated-power-w", watts), ("x-estimated-power-watts", watts)]
    if route.fell_back:
        facts.append(("x-npu-proxy-fallback-reason", route.fallback_reason))
    if route.alternatives:
        facts.append(("x-alternatives", ", ".join(route.alternatives)))
    if start.truncated_messages:
        facts.append(("x-npu-proxy-truncated-messages", str(start.truncated_messages)))
    if truncated_tokens:
        facts.append(("x-npu-proxy-truncated-tokens", str(truncated_tokens)))
    return [(name.encode(), _printable(value)) for name, value in facts]


def of_energy(energy: Energy) -> errors.Headers:
    """What whole answers say besides: an unknown energy has no figure."""
    facts = [(b"x-npu-proxy-energy-source", energy.source.encode())]
    if energy.joules is not None:
        facts.insert(0, (b"x-npu-proxy-energy-j", f"{energy.joules:.4f}".encode()))
    return facts


def _printable(value: str) -> bytes:
    """A runtime's words may hold anything; a header value must be one short line of ASCII."""
    if not (value.isascii() and value.isprintable()):
        value = _UNPRINTABLE.sub(" ", value)
    return value[:_LONGEST_VALUE].encode()
