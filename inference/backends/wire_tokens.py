"""Tokens with their log probabilities, as Ollama and OpenAI both write them, and where they stand in a text."""

from __future__ import annotations

import codecs
from typing import Any

from inference.shown_token import Token

_LEAST = -9999.0
"""What servers write for minus infinity, which JSON has not."""


class WaitingTokens:
    """Tokens of an answer until the text comes in which they show: a parser over there may hold that back."""

    def __init__(self) -> None:
        self._waiting: list[Token] = []

    def add(self, entries: object) -> None:
        """A list of {"token", "logprob", "bytes"}; what is none of these is left out."""
        if isinstance(entries, list):
            self._waiting += [_token(entry) for entry in entries if isinstance(entry, dict)]

    def of(self, text: str) -> tuple[Token, ...]:
        """Those that came until `text` did, each with its place in it."""
        given, self._waiting = self._waiting, []
        return _placed(given, text) if given else ()


def _token(entry: dict[str, Any]) -> Token:
    spelled, logprob = entry.get("bytes"), entry.get("logprob")
    known = isinstance(logprob, int | float) and not isinstance(logprob, bool)
    return Token(_bytes(spelled, entry.get("token")), float(logprob) if known else _LEAST, 0)  # type: ignore[arg-type]


def _bytes(spelled: object, token: object) -> bytes:
    """`bytes` is null for special tokens, and the text has a replacement character for half of one."""
    if isinstance(spelled, list):
        try:
            return bytes(spelled)
        except (TypeError, ValueError):
            pass
    return token.encode("utf-8", "replace") if isinstance(token, str) else b""


def _placed(given: list[Token], text: str) -> tuple[Token, ...]:
    """The same with the place in `text`, in characters, at which each begins."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    at = 0
    result = []
    for token in given:
        result.append(Token(token.spelled, token.logprob, min(at, len(text))))
        at += len(decoder.decode(token.spelled))
    return tuple(result)
