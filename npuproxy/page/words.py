"""Figures as people say them. What is not known is '' or says "unknown"; nothing is a constant that looks measured."""

from __future__ import annotations

from datetime import UTC, datetime

from inference.telemetry.readings import WATT, Reading

NONE = "–"


def measured(reading: Reading) -> str:
    if reading.value is None:
        return ""
    return f"{reading.value:.1f} W" if reading.unit == WATT else f"{reading.value:.0f} {reading.unit}"


def size(count: float) -> str:
    """Bytes as people say them."""
    if count <= 0:
        return "unknown"
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds as people say them, with two figures that matter."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def clock(unix_s: float) -> str:
    """Hour, minute and second where this server stands."""
    return datetime.fromtimestamp(unix_s, UTC).astimezone().strftime("%H:%M:%S")


def spaced(word: str) -> str:
    """`device_unavailable` as people write it."""
    return word.replace("_", " ")
