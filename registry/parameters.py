"""PARAMETER of a Modelfile: name and value or values, as stored, as text, and as the engine's sampling
options.

A row stores them as JSON, `{"temperature": 0, "stop": ["a", "b"]}`, under Ollama's names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from inference.types import Sampling

Parameters = Mapping[str, Any]

_SAMPLING: Final = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "seed": int,
    "repeat_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
}
_WIDTH: Final = 30
"""Column of the value in `/api/show`, from Ollama's GetModelInfo."""


def sampling(parameters: Parameters) -> Sampling:
    """The model's own sampling options; what it does not set stays open, what has no meaning here is
    `ignored`."""
    known = {name: of(parameters[name]) for name, of in _SAMPLING.items() if parameters.get(name) is not None}
    if parameters.get("num_predict") is not None:
        known["max_tokens"] = int(parameters["num_predict"])
    if parameters.get("stop"):
        known["stop"] = tuple(str(value) for value in _values(parameters["stop"]))
    used = {*_SAMPLING, "num_predict", "num_ctx", "stop"}
    return Sampling(**known, ignored=tuple(sorted(name for name in parameters if name not in used)))


def context_limit(parameters: Parameters) -> int:
    """`num_ctx`, or 0 where the model sets none."""
    return int(parameters.get("num_ctx") or 0)


def as_text(parameters: Parameters) -> str:
    """`/api/show`'s form: a line a value, the name padded to 30, strings quoted."""
    return "\n".join(f"{name:<{_WIDTH}} {_literal(value)}" for name, value in _pairs(parameters))


def as_modelfile(parameters: Parameters) -> str:
    """A Modelfile's form: `PARAMETER name value`, a line a value."""
    return "\n".join(f"PARAMETER {name} {_literal(value)}" for name, value in _pairs(parameters))


def _pairs(parameters: Parameters) -> Iterator[tuple[str, Any]]:
    for name in sorted(parameters):
        for value in _values(parameters[name]):
            yield name, value


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _literal(value: Any) -> str:
    """As Go's %#v writes it: strings in double quotes, 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)
