"""Text of an answer, token by token, without cutting a character."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

HELD_TOKENS = 16
"""Broken bytes are held no longer than this."""

LONGEST = 4
"""Tokens of one character: its bytes in UTF-8."""


class Decoder:
    """Text of one answer, token by token. Written for one thread.

    A window of ids is decoded at each token: those behind the last text, for context, and those that have given none
    yet. Text that ends in U+FFFD may be half a character and is held, for HELD_TOKENS at most.
    """

    def __init__(self, tokenizer: Tokenizer, silent: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self.silent = silent
        """Tokens of control, which have no text."""
        self._context: list[int] = []
        self._shown = ""
        self._held: list[int] = []

    def push(self, ids: Sequence[int]) -> list[str]:
        """One text for each token that completed some; tokens of control give none."""
        pieces: list[str] = []
        for id in ids:
            if id not in self.silent:
                self._held.append(id)
                if text := self._advance():
                    pieces.append(text)
        return pieces

    def flush(self) -> str:
        """What is still held, with U+FFFD for what never became a character."""
        text = self._fresh(self._decode(self._context + self._held))
        self._context, self._held, self._shown = [], [], ""
        return text

    def _advance(self) -> str:
        whole = self._decode(self._context + self._held)
        if not whole.endswith("\ufffd"):
            return self._show(self._fresh(whole), self._held)
        for at in range(max(1, len(self._held) - LONGEST), len(self._held)):
            # Byte fallback decodes a run of bytes as one, so a broken byte spoils the whole character behind it.
            if "\ufffd" not in (character := self._decode(self._held[at:])):
                return self._show(self._decode(self._held[:at]) + character, self._held[at:])
        return self._give_up() if len(self._held) >= HELD_TOKENS else ""

    def _show(self, fresh: str, context: list[int]) -> str:
        """The tokens are done with. Those that gave no text only lengthen the context of the next ones."""
        self._context = (context if fresh else self._context + context)[:HELD_TOKENS]
        self._held = []
        self._shown = self._decode(self._context)
        return fresh

    def _give_up(self) -> str:
        """Shows what is held but for the last tokens, which may yet become a character."""
        fresh = self._fresh(self._decode(self._context + self._held))
        self._held = self._held[-LONGEST:]
        tail = self._decode(self._held)
        self._context, self._shown = [], tail.rstrip("\ufffd")
        return fresh[: max(len(fresh) - len(tail) + len(self._shown), 0)]

    def _fresh(self, whole: str) -> str:
        if whole.startswith(self._shown):
            return whole[len(self._shown) :]
        return self._decode(self._held)  # the run of bytes again: what was shown has changed behind us

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text
