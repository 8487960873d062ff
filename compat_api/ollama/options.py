"""Ollama's `options` (api-contract 2.3): each name, its type, and what it becomes here."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from compat_api.headers import device_name
from compat_api.sampling import bounded
from inference.errors import BadRequest
from inference.types import Sampling
from registry import parameters

_KINDS = {
    "num_predict": "integer",
    "temperature": "float32",
    "top_k": "integer",
    "top_p": "float32",
    "min_p": "float32",
    "seed": "integer",
    "stop": "array",
    "repeat_penalty": "float32",
    "presence_penalty": "float32",
    "frequency_penalty": "float32",
    "num_ctx": "integer",
    "device": "string",
    "num_keep": "integer",
    "typical_p": "float32",
    "repeat_last_n": "integer",
    "num_batch": "integer",
    "num_gpu": "integer",
    "main_gpu": "integer",
    "use_mmap": "boolean",
    "num_thread": "integer",
    "draft_num_predict": "integer",
}
"""From num_keep on: checked, then ignored; they tune llama.cpp, and nothing is reloaded for a request."""


class Options(Struct, frozen=True):
    sampling: Sampling = Sampling()
    num_ctx: int | None = None
    device: str = ""


def read_options(options: dict[str, Any] | None) -> Options:
    """Unknown names and nulls are ignored; a wrong type is a BadRequest in Ollama's words."""
    given = {
        name: _typed(name, value, _KINDS[name]) if name in _KINDS else value
        for name, value in (options or {}).items()
        if value is not None
    }
    device = device_name("options.device", given.pop("device", ""))
    num_ctx = max(0, parameters.context_limit(given)) or None
    return Options(bounded(parameters.sampling(given)), num_ctx, device)


def _typed(name: str, value: Any, kind: str) -> Any:
    """`value` as the Python type for `kind`; integers may arrive as floats and are truncated."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "integer" and number:
        return int(value)
    if kind == "float32" and number:
        return float(value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "array" and isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise BadRequest(f'option "{name}" must be of an array of strings', f"options.{name}")
        return tuple(item for item in value if item)
    raise BadRequest(f'option "{name}" must be of type {kind}', f"options.{name}")
