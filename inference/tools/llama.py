"""Llama 3 and 4: the answer is a call, or begins with one; there are no tags around it.

    Llama 3.x    {"name": …, "parameters": {…}}, further ones behind a semicolon, sometimes after <|python_tag|>
    pythonic     [name(a=1, b="x"), …], as Llama 3.2 and 4 write it, 4 also between tags of its own

Without the tag a call is looked for at the beginning of the content alone, and what cannot be one any more is shown.
"""

from __future__ import annotations

import re

from inference.tools.family import CallForm, Family, JsonEnd, Step, behind_space, made, parsed
from inference.tools.lists import ListReader
from inference.tools.pythonic import CallEnd, keywords
from inference.types import Tool, ToolCall

TAG = "<|python_tag|>"
START, END = "<|python_start|>", "<|python_end|>"
TAGS = (TAG, START, END)
_KEYS = ("name", "parameters", "arguments", "type", "function", "id")
_KEY = re.compile(r'\{\s*"(?:' + "|".join(_KEYS) + r')"')
_NAME = re.compile(r"\s*([A-Za-z_][\w.-]*)\(")
_LONGEST_NAME = 100


class LlamaReader:
    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._at = -1
        """Where the call begins in the held text."""
        self._tag = 0
        self._next = self._first
        self._json: JsonEnd | None = None
        self._call_end: CallEnd | None = None
        self._name = ""
        self._list: ListReader | None = None

    def read(self, held: str) -> Step | None:
        return self._next(held) if self._list is None else self._list.read(held)

    def end(self, held: str) -> Step:
        if self._list is not None:
            return self._list.end(held)
        text = held[_tag_size(held, 0) :]
        return Step(len(held), text=text if text.strip() else "")

    def _first(self, held: str) -> Step | None:
        if held.startswith(END):
            return Step(len(END), eat_space=True)
        self._tag = _tag_size(held, 0)
        at = behind_space(held, self._tag)
        if at == len(held):
            return None
        if held[at] == "{":
            self._at, self._next = at, self._object
        elif held[at] == "[":
            self._at, self._next = at, self._bracket
        elif not self._tag and _tag_size(held, at):
            return Step(at, then="reader")
        elif not self._tag and any(tag.startswith(held[at:]) for tag in TAGS):
            return None
        else:
            return Step(self._tag)
        return self._next(held)

    def _object(self, held: str) -> Step | None:
        """A JSON object from `_at` on; not a call as soon as its first key says so."""
        if self._json is None:
            if _KEY.match(held, self._at) is None:
                return None if _may_begin_a_call(held[self._at :]) else Step(self._tag)
            self._json = JsonEnd(self._at)
        end = self._json.find(held)
        if end is None:
            return None
        call = _call(held[self._at : end])
        if call is None:
            return Step(end, text=held[self._tag : end])
        self._json, self._next = None, self._further
        return Step(end, (call,), then="reader")

    def _further(self, held: str) -> Step | None:
        """Behind a call: another one, with or without a semicolon between them."""
        at = behind_space(held, 0)
        if at < len(held) and held[at] in ";,":
            at = behind_space(held, at + 1)
        if at == len(held):
            return None
        if held[at] != "{":
            return Step(behind_space(held, 0))
        self._tag, self._at, self._next = 0, at, self._object
        return self._object(held)

    def _bracket(self, held: str) -> Step | None:
        at = behind_space(held, self._at + 1)
        if at == len(held):
            return None
        if held[at] == "{":
            self._list = ListReader(self._tag, call_of=_call)
            return self._list.read(held)
        self._at, self._next = at, self._python
        return self._python(held)

    def _python(self, held: str) -> Step | None:
        """One call `name(…)` of a list."""
        if self._call_end is None:
            match = _NAME.match(held, self._at, self._at + _LONGEST_NAME)
            if match is None:
                return None if _may_be_a_name(held[self._at :]) else Step(self._tag)
            self._name, self._at = match[1], match.end() - 1
            self._call_end = CallEnd(self._at)
        end = self._call_end.find(held)
        if end is None:
            return None
        call = made(self._name, keywords(held[self._at : end]))
        if call is None:
            return Step(end, text=held[self._tag : end])
        self._call_end, self._next = None, self._behind_python
        return Step(end, (call,), then="reader")

    def _behind_python(self, held: str) -> Step | None:
        at = behind_space(held, 0)
        if at == len(held):
            return None
        if held[at] == ",":
            self._tag, self._at, self._next = 0, at + 1, self._python
            return self._python(held)
        return Step(at + 1, eat_space=True) if held[at] == "]" else Step(at)


def _tag_size(held: str, at: int) -> int:
    return next((len(tag) for tag in TAGS if held.startswith(tag, at)), 0)


def _call(text: str) -> ToolCall | None:
    """A name alone is no call here, where nothing but its keys tells it from an answer in JSON."""
    return parsed(text) if '"parameters"' in text or '"arguments"' in text else None


def _may_begin_a_call(text: str) -> bool:
    """`text` begins with a brace: it is space and the beginning of one of the keys so far."""
    rest = text[1:].lstrip()
    return not rest or any(f'"{key}"'.startswith(rest) for key in _KEYS)


def _may_be_a_name(text: str) -> bool:
    return len(text) < _LONGEST_NAME and re.fullmatch(r"\s*(?:[A-Za-z_][\w.-]*)?", text) is not None


_FORM = CallForm(before='{"name": "NAME", "parameters": ', after="}", between="; ")

LLAMA = Family(
    name="llama",
    opens=TAGS,
    reader=LlamaReader,
    form=lambda template: _FORM,
    at_start=True,
    tags=TAGS,
    control=TAGS,
)
