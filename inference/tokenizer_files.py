"""What the files of a model's folder say of its tokenizer: tokens that are matched whole, those that end an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from tokenizers import Tokenizer

from inference.errors import ModelDamaged
from inference.types import ModelSpec


class AddedToken(Struct, frozen=True):
    id: int
    content: str
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False


class _TokenizerFile(Struct, frozen=True):
    added_tokens: tuple[AddedToken, ...] = ()


def added_tokens(spec: ModelSpec) -> tuple[AddedToken, ...]:
    """Tokens that are matched in text before the model's own splitting. Raises ModelDamaged."""
    path = spec.path / "tokenizer.json"
    if not path.is_file():
        raise ModelDamaged(spec.name, "tokenizer.json", "is missing")
    try:
        return msgspec.json.decode(path.read_bytes(), type=_TokenizerFile).added_tokens
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelDamaged(spec.name, "tokenizer.json", "is not a tokenizer") from error


def read_json(spec: ModelSpec, file: str) -> dict[str, Any]:
    """A JSON object of the model's folder, {} when there is no such file. Raises ModelDamaged."""
    path: Path = spec.path / file
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelDamaged(spec.name, file, "is not a JSON object") from error


def eos_ids(spec: ModelSpec, tokenizer: Tokenizer) -> frozenset[int]:
    found: set[int] = set()
    for file in ("generation_config.json", "config.json"):
        value = read_json(spec, file).get("eos_token_id")
        found.update(id for id in (value if isinstance(value, list) else [value]) if isinstance(id, int))
        if found:
            break
    token = read_json(spec, "tokenizer_config.json").get("eos_token")
    content = token.get("content") if isinstance(token, dict) else token
    if isinstance(content, str) and (id := tokenizer.token_to_id(content)) is not None:
        found.add(id)
    return frozenset(found)
