"""How long a model stays loaded after a request: Ollama's keep_alive, and Go's durations that tell it."""

from __future__ import annotations

import re

from compat_api.decoding import quoted
from inference.errors import BadRequest
from inference.types import FOREVER

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)", re.ASCII)
_LONGEST_S = (2**63 - 1) / 1e9
"""What fits Go's int64 nanoseconds, 292 years; from here on it is for ever."""


def keep_alive_s(value: object) -> float | None:
    """Seconds; None for absent; FOREVER for any negative. Raises BadRequest in Go's words."""
    if value is None:
        return None
    if isinstance(value, bool):
        raise BadRequest("Unsupported type: 'bool'", "keep_alive")
    if isinstance(value, int | float):
        seconds = float(max(-1, min(value, _LONGEST_S)))  # an int may be too large for a float
    elif isinstance(value, str):
        seconds = duration_s(value)
    else:
        kind = "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
        raise BadRequest(f"Unsupported type: '{kind}'", "keep_alive")
    return FOREVER if seconds < 0 or seconds >= _LONGEST_S else seconds


def duration_s(text: str) -> float:
    """Go's time.ParseDuration: '5m0s', '1.5h', '-1s', '0'. A number without a unit is an error."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    sign = -1.0 if text[:1] == "-" else 1.0
    if rest == "0":
        return 0.0
    seconds, at = 0.0, 0
    while at < len(rest):
        term = _TERM.match(rest, at)
        if term is None:
            raise BadRequest(f"time: invalid duration {quoted(text)}", "keep_alive")
        number, unit = term.groups()
        if not unit:
            raise BadRequest(f"time: missing unit in duration {quoted(text)}", "keep_alive")
        if unit not in _UNITS_S:
            raise BadRequest(f"time: unknown unit {quoted(unit)} in duration {quoted(text)}", "keep_alive")
        seconds += float(number) * _UNITS_S[unit]
        at = term.end()
    if not rest:
        raise BadRequest(f"time: invalid duration {quoted(text)}", "keep_alive")
    return sign * seconds
