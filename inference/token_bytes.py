"""The bytes that one token stands for, whatever it is next to: with a vocabulary of bytes, half a character too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from tokenizers import Tokenizer

from inference.tokenizer_files import AddedToken

_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_letters() -> dict[str, int]:
    """As GPT-2 spells bytes: those that are printable in Latin-1 as themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in printable}
    rest = sorted(set(range(256)) - set(printable))
    return letters | {chr(0x100 + place): byte for place, byte in enumerate(rest)}


_LETTERS = _byte_letters()


class TokenBytes:
    """By the tokenizer's own decoder: byte level, byte fallback, or a letter for the space."""

    def __init__(self, tokenizer: Tokenizer, added: Iterable[AddedToken]) -> None:
        self._tokenizer = tokenizer
        self._added = {token.id: token.content.encode() for token in added}
        self._byte_level = self._byte_fallback = False
        self._spelled: list[tuple[str, str]] = []
        """What the vocabulary spells otherwise than the text, as ▁ for a space."""
        for step in _steps(tokenizer):
            match step:
                case {"type": "ByteLevel"}:
                    self._byte_level = True
                case {"type": "ByteFallback"}:
                    self._byte_fallback = True
                case {"type": "Metaspace", "replacement": str(letter)}:
                    self._spelled.append((letter, " "))
                case {"type": "Replace", "pattern": {"String": str(letter)}, "content": str(text)}:
                    self._spelled.append((letter, text))

    def of(self, id: int) -> bytes:
        """b'' for an id that is in no vocabulary."""
        if (content := self._added.get(id)) is not None:
            return content
        piece = self._tokenizer.id_to_token(id) or ""
        if self._byte_level and all(letter in _LETTERS for letter in piece):
            return bytes([_LETTERS[letter] for letter in piece])
        if self._byte_fallback and (match := _FALLBACK.fullmatch(piece)):
            return bytes([int(match[1], 16)])
        for letter, text in self._spelled:
            piece = piece.replace(letter, text)
        return piece.encode()


def _steps(tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """The decoder's, in order."""
    if tokenizer.decoder is None:
        return
    waiting: list[dict[str, Any]] = [msgspec.json.decode(tokenizer.decoder.__getstate__())]
    while waiting:
        step = waiting.pop(0)
        yield step
        waiting = [*step.get("decoders", ()), *waiting]
