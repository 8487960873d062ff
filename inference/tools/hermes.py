"""Hermes, Qwen and most others: <tool_call>{"name": …, "arguments": {…}}</tool_call>, mostly one call between two tags.

The tags are plain letters, and no text where tools were offered: not around what is no call, and not alone. What stood
between them is shown. Several objects or a list of them between two tags are several calls, and a call counts with the
bracket that completes it. Tags inside of its strings are letters like others.
"""

from __future__ import annotations

import msgspec

from inference.tools.family import CallForm, Family, Step, StrictJsonEnd, behind_space, parsed
from inference.types import Tool, ToolCall

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
TAGS = (OPEN, CLOSE)


class HermesReader:
    """One pair of tags, or a tag that belongs to none."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._next = self._first
        self._json = StrictJsonEnd(0)
        self._end = 0

    def read(self, held: str) -> Step | None:
        return self._next(held)

    def end(self, held: str) -> Step:
        """A tag that the answer ends in behind a call is none of its text."""
        called = self._next in (self._further, self._closed)
        text = held.removeprefix(OPEN) if self._next == self._first else held
        return Step(len(held), text="" if not text.strip() or (called and begins(held, 0, TAGS)) else text)

    def _first(self, held: str) -> Step | None:
        if held.startswith(CLOSE):
            return Step(len(CLOSE))
        at = behind_space(held, len(OPEN))
        if at == len(held) or begins(held, at, TAGS):
            return None
        if held[at] in "{[":
            self._next = self._value
            return Step(at, then="reader")
        pair = held.startswith(CLOSE, at)
        return Step(at + len(CLOSE) if pair else len(OPEN))

    def _value(self, held: str) -> Step | None:
        """The held text begins with the bracket of an object or a list."""
        end = self._json.find(held)
        if end is not None:
            if calls := _calls(held[:end]):
                self._next = self._further
                return Step(end, calls, then="reader", eat_space=True)
            self._end, self._next = end, self._no_call
            return self._no_call(held)
        if self._json.broken is None:
            return None
        # A string that was never closed has run over the tags: what follows the first of them may be a call.
        at = min((at for tag in TAGS if (at := held.find(tag, 0, self._json.broken)) >= 0), default=None)
        end = self._json.broken if at is None else at
        return Step(end, text=held[:end])

    def _no_call(self, held: str) -> Step | None:
        at = behind_space(held, self._end)
        if at == len(held) or begins(held, at, (CLOSE,)):
            return None
        size = at + len(CLOSE) if held.startswith(CLOSE, at) else self._end
        return Step(size, text=held[: at if size > at else size])

    def _further(self, held: str) -> Step | None:
        """Behind a call: another one, or the closing tag."""
        at = behind_space(held, held.startswith(","))
        if at == len(held):
            return None
        if held[at] != "{":
            return self._closed(held)
        self._json, self._next = StrictJsonEnd(0), self._value
        return Step(at, then="reader")

    def _closed(self, held: str) -> Step | None:
        self._next = self._closed
        return closing(held, (CLOSE,))


def begins(held: str, at: int, tags: tuple[str, ...]) -> bool:
    """What is held from `at` on is the beginning of one of the tags, and not all of it."""
    size = len(held) - at
    return any(size < len(tag) and held.endswith(tag[:size]) for tag in tags)


def closing(held: str, tags: tuple[str, ...]) -> Step | None:
    """Behind a call: takes one of these tags, and stays for more of them."""
    for tag in tags:
        if held.startswith(tag):
            return Step(len(tag), then="reader", eat_space=True)
    return None if begins(held, 0, tags) else Step(0)


def _calls(text: str) -> tuple[ToolCall, ...]:
    """() unless all of it is calls."""
    try:
        parts = msgspec.json.decode(text, type=list[msgspec.Raw]) if text.startswith("[") else [text.encode()]
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return ()
    calls = tuple(call for part in parts if (call := parsed(bytes(part).decode())) is not None)
    return calls if len(calls) == len(parts) else ()


FORM = CallForm(before='<tool_call>\n{"name": "NAME", "arguments": ', after="}\n</tool_call>")

HERMES = Family(
    name="hermes", opens=TAGS, reader=HermesReader, form=lambda template: FORM, tags=TAGS, control=TAGS
)
