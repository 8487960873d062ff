"""PARAMETER of a Modelfile: name and value or values, as stored, as text, and as the engine's sampling options.

A row stores them as JSON, `{"temperature": 0, "stop": ["a", "b"]}`, under Ollama's names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from inference.errors import BadRequest
from inference.sampling import bounded
from inference.tools.families import FAMILIES
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
KINDS: Final = {
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
    "num_keep": "integer",
    "typical_p": "float32",
    "repeat_last_n": "integer",
    "num_batch": "integer",
    "num_gpu": "integer",
    "main_gpu": "integer",
    "use_mmap": "boolean",
    "num_thread": "integer",
    "draft_num_predict": "integer",
    "tool_parser": "string",
}
"""Ollama's parameters. From num_keep on: checked, then ignored; they tune llama.cpp, and nothing is reloaded
for a request. `tool_parser` is ours: the family whose way of writing calls the model has."""
REQUEST_KINDS: Final = {name: kind for name, kind in KINDS.items() if name != "tool_parser"}
"""Those that a request may set as its `options`."""
_RETIRED: Final = frozenset(
    {
        *("embedding_only", "f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta", "mirostat_tau"),
        *("num_gqa", "numa", "penalize_newline", "rope_frequency_base", "rope_frequency_scale", "tfs_z"),
        *("use_mlock", "vocab_only"),
    }
)
"""Once Ollama's; Modelfiles still carry them. Dropped without a word, as Ollama does."""
_BOOLEANS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_LARGEST: Final = sys.float_info.max
"""An integer of JSON may be too large for a float."""
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
    used = {*_SAMPLING, "num_predict", "num_ctx", "stop", "tool_parser"}
    return Sampling(**known, ignored=tuple(sorted(name for name in parameters if name not in used)))


def tool_parser(parameters: Parameters) -> str:
    """A family of `inference.tools`, or '' where the model's template tells it."""
    return str(parameters.get("tool_parser") or "")


def context_limit(parameters: Parameters) -> int:
    """`num_ctx`, or 0 where the model sets none."""
    return int(parameters.get("num_ctx") or 0)


def typed(name: str, value: Any, kind: str) -> Any:
    """`value` as the Python type for `kind`; integers may arrive as floats and are truncated.

    Raises BadRequest in Ollama's words.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
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


def from_text(name: str, text: str) -> dict[str, Any]:
    """What a Modelfile's `PARAMETER name text` sets; empty for one that Ollama has retired. Raises BadRequest."""
    if name in _RETIRED:
        return {}
    kind = KINDS.get(name)
    try:
        if kind == "array":
            return {name: [text]}
        if kind == "string":
            return {name: text}
        if kind == "boolean":
            return {name: _BOOLEANS[text.strip().lower()]}
        if kind is not None:
            return {name: typed(name, float(text) if kind == "float32" else int(float(text)), kind)}
    except (ValueError, KeyError, OverflowError):
        raise BadRequest(
            f"parameter {name}: {text[:80]!r} is not of type {kind}", f"parameters.{name}"
        ) from None
    raise BadRequest(f"unknown parameter '{name[:80]}'; the known ones are {', '.join(KINDS)}", "parameters")


def checked(parameters: Parameters) -> dict[str, Any]:
    """As a row stores them: each of its type and in bounds, null and retired ones left out. Raises BadRequest."""
    kept: dict[str, Any] = {}
    for name, value in parameters.items():
        if value is None or name in _RETIRED:
            continue
        if name not in KINDS:
            raise BadRequest(
                f"unknown parameter '{name[:80]}'; the known ones are {', '.join(KINDS)}",
                f"parameters.{name}",
            )
        if KINDS[name] == "array" and isinstance(value, str):
            value = [value]
        value = typed(name, value, KINDS[name])
        kept[name] = list(value) if isinstance(value, tuple) else value
    if kept.get("num_ctx") is not None and kept["num_ctx"] < 0:
        raise BadRequest(f'"num_ctx": {kept["num_ctx"]} is negative', "parameters.num_ctx")
    if (parser := kept.get("tool_parser", "hermes")) not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise BadRequest(
            f"tool_parser: {parser[:80]!r} is none of the known ones: {known}", "parameters.tool_parser"
        )
    bounded(sampling(kept))
    return kept


def as_text(parameters: Parameters) -> str:
    """`/api/show`'s form: a line a value, the name padded to 30, strings quoted."""
    return "\n".join(f"{name:<{_WIDTH}} {literal(value)}" for name, value in pairs(parameters))


def pairs(parameters: Parameters) -> Iterator[tuple[str, Any]]:
    """Name and value in the order of names; one with several values comes several times."""
    for name in sorted(parameters):
        for value in _values(parameters[name]):
            yield name, value


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def literal(value: Any) -> str:
    """As Go's %#v writes it: strings in double quotes, 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)
