"""What a family of models has: the tags of its calls, a reader of them, and the form in which a call is enforced.

A reader takes over where a tag ended content. It is given all text that is held, again with each piece, and says what
it made of the beginning: a `Step`, or None while that depends on what comes. What it decides depends on the text alone
and never on how it was cut: so it decides at the first character at which it can.

Tags of control are never shown where tools were offered. Any other tag is text as long as no call follows it.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Protocol

import msgspec
import orjson
from msgspec import Struct

from inference.thinking import ThinkTags
from inference.types import Tool, ToolCall

_ID_LETTERS = string.ascii_lowercase + string.digits
_INSIDE = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]")}
"""Quotation marks, and what counts behind each: its end, and the sign that takes the next one's meaning."""


_SPACE = re.compile(r"\s*")


class Step(Struct, frozen=True):
    """The first `size` held characters are done with: they were `calls`, or hold `text` to show as content, or were
    tags. `then` is what follows: more for this reader, content, or thoughts. `eat_space`: not the white space."""

    size: int
    calls: tuple[ToolCall, ...] = ()
    text: str = ""
    then: Literal["reader", "content", "thoughts"] = "content"
    eat_space: bool = False


class Reader(Protocol):
    """One run of calls in one answer."""

    def read(self, held: str) -> Step | None: ...

    def end(self, held: str) -> Step:
        """The answer is over; `held` is what no step has taken."""
        ...


class CallForm(Struct, frozen=True):
    """Calls as this family writes them: `before` holds NAME, `after` follows the arguments, `between` two calls."""

    before: str
    after: str
    start: str = ""
    between: str = "\n"
    end: str = ""
    one: bool = False
    """The answer ends with the first call."""

    def opening(self, name: str) -> str:
        return self.before.replace("NAME", json.dumps(name, ensure_ascii=False)[1:-1])


class Family(Struct, frozen=True):
    name: str
    opens: tuple[str, ...]
    """A reader takes over where one of these is complete."""
    reader: Callable[[tuple[Tool, ...]], Reader]
    """A new reader, for the tools that were offered."""
    form: Callable[[str], CallForm]
    """By the text of the model's template, for families that write calls in more than one way."""
    at_start: bool = False
    """A reader also takes over at the first character of the content."""
    always: bool = False
    """Also when no tools were offered."""
    ends_thoughts: tuple[str, ...] = ()
    """Where thoughts end, when they are written between this family's own tags; the tag is left to the reader."""
    think: ThinkTags | None = None
    """Around thoughts, where they are written between this family's own tags."""
    answer_only: str = ""
    """Behind the prompt, this leaves the model nothing to do but to answer: no thoughts, no calls."""
    tags: tuple[str, ...] = ()
    """All its tags, shown to the parser even where a tokenizer calls them control tokens."""
    control: tuple[str, ...] = ()
    """Those of them that are never shown, not even where no call came of them."""

    def shown(self, text: str) -> str:
        """What a reader gives back as content, without tags of control."""
        while tag := next((tag for tag in self.control if tag in text), ""):
            text = text.replace(tag, "")
        return text


class ValueEnd:
    """Where the value that begins at `start` with an opening bracket ends, in text that grows. Brackets in quotation
    marks do not count. Looks at each character once."""

    outside: ClassVar[re.Pattern[str]]
    """What begins a quotation, or opens or closes a value."""
    inside: ClassVar[dict[str, re.Pattern[str]]] = _INSIDE
    signs: ClassVar[frozenset[str]] = frozenset("\"'([{}])")

    def __init__(self, start: int) -> None:
        self.broken: int | None = None
        """The place of a character that no such value has; nothing is found any more."""
        self._at = start
        self._depth = 0
        self._quote = ""

    def find(self, text: str) -> int | None:
        """The place behind the value; None while it is not complete."""
        while match := (self.inside[self._quote] if self._quote else self.outside).search(text, self._at):
            sign = match[0]
            if sign == "\\":
                if match.end() == len(text):
                    self._at = match.start()
                    return None
                self._at = match.end() + 1
                continue
            if sign not in self.signs:
                self._at = self.broken = match.start()
                return None
            self._at = match.end()
            if sign in self.inside:
                self._quote = "" if self._quote else sign
            elif sign in "([{":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0:
                    return self._at
        self._at = max(self._at, len(text))
        return None


class JsonEnd(ValueEnd):
    """Of a JSON object or list."""

    outside = re.compile(r'["{}\[\]]')


class StrictJsonEnd(ValueEnd):
    """The same, and `broken` at the first character that no JSON has there: for text that tags may end anywhere."""

    outside = re.compile(r'["{}\[\]]|[^\s,:0-9.+\-eEtrufalsn]')
    inside: ClassVar[dict[str, re.Pattern[str]]] = {'"': re.compile(r'["\\\x00-\x1f]')}
    signs = frozenset('"[{}]')


def behind_space(text: str, at: int) -> int:
    """The first place from `at` on that is no white space; the length of the text where there is none."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


class _Call(Struct, frozen=True):
    name: str
    arguments: dict[str, Any] | str | None = None
    parameters: dict[str, Any] | str | None = None


def parsed(text: str) -> ToolCall | None:
    """A call {"name", "arguments" or "parameters"}; they may be absent, or an object spelled in a string."""
    try:
        call = msgspec.json.decode(text.strip(), type=_Call)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    given = call.parameters if call.arguments is None else call.arguments
    return made(call.name, arguments(given) if isinstance(given, str) else given or {})


def arguments(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` spells; {} for nothing at all, None for anything else."""
    if not text.strip():
        return {}
    try:
        return msgspec.json.decode(text.strip(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def made(name: str, values: dict[str, Any] | None) -> ToolCall | None:
    """A call with an id of its own; None without arguments, or with such as no encoder takes: integers beyond 64 bits,
    nesting beyond 254, half a surrogate pair."""
    try:
        orjson.dumps(values)
    except orjson.JSONEncodeError:
        return None
    if values is None or not name:
        return None
    return ToolCall("call_" + "".join(secrets.choice(_ID_LETTERS) for _ in range(8)), name, values)
