"""A rendered prompt in which text that users typed can never pass for the template's control tokens.

`Quoting` puts an unguessable marker in the place of each control string found in user text before the template runs,
and takes the markers out of what the template made. What is left over are spans: `Prompt.quoted` says where user text
spells a control token, and the tokenizer encodes these spans as plain text. Without such text a prompt has no spans.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

ZERO_WIDTH_SPACE = "\u200b"


class Prompt(Struct, frozen=True):
    """`text` is the whole prompt; `quoted` are (start, end) spans in it, in order, that are text and never control."""

    text: str
    quoted: tuple[tuple[int, int], ...] = ()

    def disarmed(self) -> str:
        """For a runtime that takes text alone: a space without width breaks each quoted spelling, behind its first
        character."""
        parts: list[str] = []
        last = 0
        for start, end in self.quoted:
            if end - start > 1:
                parts += (self.text[last : start + 1], ZERO_WIDTH_SPACE)
                last = start + 1
        return "".join((*parts, self.text[last:]))

    def opens(self, tag: str) -> bool:
        """The template ends with this tag, as where it has begun the model's thoughts; white space aside."""
        text = self.text.rstrip()
        return text.endswith(tag) and not (self.quoted and self.quoted[-1][1] == len(text))


class ControlStrings:
    """The spellings that a tokenizer turns into control tokens; finds them in text, the longest first."""

    def __init__(self, strings: Iterable[str]) -> None:
        self.strings = frozenset(s for s in strings if s.strip())
        self.pattern = re.compile(_alternatives(sorted(self.strings))) if self.strings else None


def _alternatives(strings: list[str]) -> str:
    """One regular expression for sorted strings, common beginnings shared: models reserve up to a thousand tokens."""
    if not strings:
        return ""
    optional = strings[0] == ""
    branches: list[str] = []
    rest = strings[1:] if optional else strings
    while rest:
        group = [s for s in rest if s[0] == rest[0][0]]
        branches.append(re.escape(rest[0][0]) + _alternatives([s[1:] for s in group]))
        rest = rest[len(group) :]
    if not branches:
        return ""
    joined = branches[0] if len(branches) == 1 and not optional else f"(?:{'|'.join(branches)})"
    return joined + "?" if optional else joined


class Quoting:
    """One render: `quote` what users typed, then take the `prompt` out of the rendered text."""

    def __init__(self) -> None:
        # Digits survive every filter a template applies to text (upper, title, tojson), and cannot be guessed.
        self._nonce = f"{secrets.randbits(80) + 2**80:025d}"
        self._found: list[str] = []

    def quote(self, value: Any, control: ControlStrings) -> Any:
        """The same value with markers for control strings, in all strings of dicts and lists, keys included."""
        if isinstance(value, str):
            pattern = control.pattern
            return (
                value if pattern is None or pattern.search(value) is None else pattern.sub(self._mark, value)
            )
        if isinstance(value, dict):
            return {self.quote(key, control): self.quote(item, control) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.quote(item, control) for item in value]
        return value

    def _mark(self, match: re.Match[str]) -> str:
        self._found.append(match[0])
        return f"{self._nonce}{len(self._found) - 1:07d}"

    def prompt(self, rendered: str) -> Prompt:
        if not self._found:
            return Prompt(rendered)
        parts: list[str] = []
        spans: list[tuple[int, int]] = []
        size = last = 0
        for match in re.finditer(self._nonce + r"(\d{7})", rendered):
            before, literal = rendered[last : match.start()], self._found[int(match[1])]
            parts += (before, literal)
            start = size + len(before)
            size = start + len(literal)
            spans.append((start, size))
            last = match.end()
        parts.append(rendered[last:])
        return Prompt("".join(parts), tuple(spans))
