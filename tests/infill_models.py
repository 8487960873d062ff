"""The built-in demo model with the tokens of fill-in-middle, in the place of the last words of its vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from conftest import RunningServer
from engines import BUILTIN
from modelfiles import create, delete, files_of, send

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>")
MISTRAL = ("[PREFIX]", "[SUFFIX]")


def tokenizer_json(tokens: Sequence[str]) -> dict[str, Any]:
    """demo's tokenizer, the last words replaced by these tokens. Qwen's are not special either."""
    content: dict[str, Any] = json.loads((BUILTIN / "demo" / "tokenizer.json").read_text("utf-8"))
    vocabulary: dict[str, int] = content["model"]["vocab"]
    first = len(vocabulary) - len(tokens)
    gone = {word for word, id in vocabulary.items() if id >= first}
    content["model"]["vocab"] = {word: id for word, id in vocabulary.items() if word not in gone}
    content["model"]["merges"] = [
        merge for merge in content["model"]["merges"] if "".join(merge) not in gone and not gone & {*merge}
    ]
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}
    content["added_tokens"] += [
        {"id": first + place, "content": token, **flags} for place, token in enumerate(tokens)
    ]
    return content


@contextmanager
def infill_model(server: RunningServer, name: str, tokens: Sequence[str], **recipe: Any) -> Iterator[str]:
    """Made by /api/create of files that were sent, and removed at the end."""
    sent = send(server, json.dumps(tokenizer_json(tokens)).encode())
    files = files_of(server, BUILTIN / "demo", name) | {"tokenizer.json": sent}
    create(server, model=name, files=files, **recipe)
    try:
        yield name
    finally:
        delete(server, name)
