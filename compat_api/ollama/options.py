"""Ollama's `options` (api-contract 2.3): each name, its type, and what it becomes here."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from compat_api.headers import device_name
from inference.errors import BadRequest
from inference.sampling import bounded
from inference.types import Sampling
from registry import parameters

_KINDS = {**parameters.REQUEST_KINDS, "device": "string"}
"""What a request may set; `device` is ours."""


class Options(Struct, frozen=True):
    sampling: Sampling = Sampling()
    num_ctx: int | None = None
    device: str = ""


_NONE = Options()
MOST_OPTIONS = 1_000


def read_options(options: dict[str, Any] | None) -> Options:
    """Unknown names and nulls are ignored; a wrong type is a BadRequest in Ollama's words."""
    if not options:
        return _NONE
    if len(options) > MOST_OPTIONS:
        raise BadRequest(f'"options": {len(options)} of them; at most {MOST_OPTIONS} are accepted', "options")
    given = {
        name: parameters.typed(name, value, _KINDS[name]) if name in _KINDS else value
        for name, value in options.items()
        if value is not None
    }
    device = device_name("options.device", given.pop("device", ""))
    num_ctx = max(0, parameters.context_limit(given)) or None
    return Options(bounded(parameters.sampling(given)), num_ctx, device)
