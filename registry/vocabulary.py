"""Words and merges of a tokenizer, for who asks /api/show to be verbose. Read from the file each time, kept nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

LARGEST_BYTES: Final = 64 * 1024**2

EMPTY: Final[dict[str, list[str]]] = {"tokenizer.ggml.tokens": [], "tokenizer.ggml.merges": []}


def read(folder: Path) -> dict[str, list[str]]:
    """`tokens` by their ids, '' where one is free, and `merges` as 'a b'; EMPTY where tokenizer.json has none."""
    file = folder / "tokenizer.json"
    try:
        if file.stat().st_size > LARGEST_BYTES:
            return EMPTY
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return {
            "tokenizer.ggml.tokens": _tokens(found),
            "tokenizer.ggml.merges": [
                merge if isinstance(merge, str) else " ".join(merge)
                for merge in found["model"].get("merges") or ()
            ],
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return EMPTY


def _tokens(found: dict[str, Any]) -> list[str]:
    vocabulary = found["model"]["vocab"]
    if isinstance(vocabulary, dict):
        ids = {int(id): str(token) for token, id in vocabulary.items()}
    else:  # Unigram: pairs of token and score, in the order of ids
        ids = {id: str(token) for id, (token, _) in enumerate(vocabulary)}
    ids |= {int(added["id"]): str(added["content"]) for added in found.get("added_tokens") or ()}
    most = max(ids, default=-1) + 1
    if most > 4 * len(ids) + 1000:
        raise ValueError(most)
    return [ids.get(id, "") for id in range(most)]
