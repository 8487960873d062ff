"""Levels of thinking: the names of each API, and what they become for the model's template."""

from __future__ import annotations

EFFORTS = {
    "none": "",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}
"""Of the three APIs on /v1; '' is off."""

THINK_LEVELS = ("low", "medium", "high", "max")
"""Of Ollama's `think`."""
