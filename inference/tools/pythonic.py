"""Calls in the notation of Python: `name(a=1, b="x")`. Literals alone; nothing is evaluated."""

from __future__ import annotations

import re
from typing import Any

from inference.tools.family import ValueEnd

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>[()\[\]{},:=]))""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_CONSTANTS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_DEPTH = 64


class CallEnd(ValueEnd):
    """Of a call in brackets, as Python writes it."""

    outside = re.compile(r"""["'{}\[\]()]""")


def keywords(text: str) -> dict[str, Any] | None:
    """The arguments of `(a=1, b="x")`; None for anything else, positional arguments among it."""
    try:
        return _Literals(text).keywords()
    except (ValueError, OverflowError):
        return None


class _Literals:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise ValueError("not a literal")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self._tokens.append(("end", ""))
        self._place = 0

    def keywords(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        self._sign("(")
        while not self._has(")"):
            kind, name = self._take()
            if kind != "name" or name in values:
                raise ValueError("not a keyword")
            self._sign("=")
            values[name] = self._value(1)
            if not self._has(","):
                self._sign(")")
                break
        if self._take()[0] != "end":
            raise ValueError("more than one call")
        return values

    def _value(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("nested too deeply")
        kind, text = self._take()
        if kind == "string":
            value = _ESCAPE.sub(_unescaped, text[1:-1])
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if kind == "number":
            return float(text) if set(text) & set(".eE") else int(text)
        if kind == "name" and text in _CONSTANTS:
            return _CONSTANTS[text]
        if text in ("[", "("):
            return self._items("]" if text == "[" else ")", depth)
        if text == "{":
            return self._pairs(depth)
        raise ValueError("not a literal")

    def _items(self, close: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self._has(close):
            items.append(self._value(depth + 1))
            if not self._has(","):
                self._sign(close)
                break
        return items

    def _pairs(self, depth: int) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        while not self._has("}"):
            key = self._value(depth + 1)
            if not isinstance(key, str):
                raise ValueError("a key is a string")
            self._sign(":")
            pairs[key] = self._value(depth + 1)
            if not self._has(","):
                self._sign("}")
                break
        return pairs

    def _take(self) -> tuple[str, str]:
        token = self._tokens[self._place]
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return token

    def _has(self, sign: str) -> bool:
        found = self._tokens[self._place] == ("sign", sign)
        self._place += found
        return found

    def _sign(self, sign: str) -> None:
        if not self._has(sign):
            raise ValueError(f"no {sign}")


def _unescaped(match: re.Match[str]) -> str:
    """As Python reads it, but that an unknown escape stays as it is written."""
    if code := match[1] or match[2]:
        return chr(int(code, 16))
    letter = match[3]
    return _ESCAPES.get(letter, letter if letter in "\\'\"" else "\\" + letter)
