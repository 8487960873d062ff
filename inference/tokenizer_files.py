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


def bos_id(spec: ModelSpec, tokenizer: Tokenizer) -> int | None:
    """Of the token that begins a text, where the model has one."""
    content = _content(read_json(spec, "tokenizer_config.json").get("bos_token"))
    id: int | None = tokenizer.token_to_id(content) if content else None
    return id


def lead_ids(spec: ModelSpec, tokenizer: Tokenizer) -> tuple[int, ...]:
    """What stands before every text: as the configuration says, else as the tokenizer does it."""
    wished = read_json(spec, "tokenizer_config.json").get("add_bos_token")
    if isinstance(wished, bool):
        id = bos_id(spec, tokenizer)
        return (id,) if wished and id is not None else ()
    encoded = tokenizer.encode("a")
    own = encoded.special_tokens_mask.index(0) if 0 in encoded.special_tokens_mask else 0
    return tuple(encoded.ids[:own])


def _content(token: object) -> str:
    """A token is written as its text, or as an object that has it."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""


def eos_ids(spec: ModelSpec, tokenizer: Tokenizer) -> frozenset[int]:
    found: set[int] = set()
    for file in ("generation_config.json", "config.json"):
        value = read_json(spec, file).get("eos_token_id")
        found.update(id for id in (value if isinstance(value, list) else [value]) if isinstance(id, int))
        if found:
            break
    content = _content(read_json(spec, "tokenizer_config.json").get("eos_token"))
    if content and (id := tokenizer.token_to_id(content)) is not None:
        found.add(id)
    return frozenset(found)
