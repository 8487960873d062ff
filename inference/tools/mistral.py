"""Mistral: [TOOL_CALLS] and a list, or a name and its arguments.

until 2024    [TOOL_CALLS][{"name": …, "arguments": {…}}, …]
since         [TOOL_CALLS]name[ARGS]{…}, or name[CALL_ID]id[ARGS]{…}, the tag again for each call
"""

from __future__ import annotations

import re

from inference.tools.family import CallForm, Family, JsonEnd, Reader, Step, arguments, made
from inference.tools.lists import ListReader
from inference.types import Tool

TAG = "[TOOL_CALLS]"
ARGS = "[ARGS]"
CALL_ID = "[CALL_ID]"
_HEAD = re.compile(r"\s*([\w.:-]+)\s*(?:\[CALL_ID\]\s*\w*\s*)?(?:\[ARGS\]\s*)?")
_LONGEST_HEAD = 300


class MistralReader:
    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._list: Reader | None = None
        self._end: JsonEnd | None = None
        self._name = ""
        self._at = 0

    def read(self, held: str) -> Step | None:
        if self._list is not None:
            return self._list.read(held)
        if not held.startswith(TAG):  # a tag that belongs to no call
            return Step(len(ARGS if held.startswith(ARGS) else CALL_ID))
        if self._end is None:
            rest = held[len(TAG) :].lstrip()
            if not rest:
                return None
            if rest[0] in "[{":
                self._list = ListReader(len(TAG))
                return self._list.read(held)
            return self._head(held)
        return self._values(held)

    def _head(self, held: str) -> Step | None:
        at = held.find("{", 0, len(TAG) + _LONGEST_HEAD)
        if at < 0:
            return None if len(held) < len(TAG) + _LONGEST_HEAD else Step(len(TAG))
        head = _HEAD.fullmatch(held, len(TAG), at)
        if head is None:
            return Step(len(TAG))
        self._name, self._at, self._end = head[1], at, JsonEnd(at)
        return self._values(held)

    def _values(self, held: str) -> Step | None:
        assert self._end is not None
        end = self._end.find(held)
        if end is None:
            return None
        call = made(self._name, arguments(held[self._at : end]))
        if call is None:
            return Step(end, text=held[:end].replace(CALL_ID, " "))
        return Step(end, (call,), eat_space=True)

    def end(self, held: str) -> Step:
        return (
            self._list.end(held)
            if self._list is not None
            else Step(len(held), text=held.replace(CALL_ID, " "))
        )


_LIST = CallForm(start=TAG + "[", before='{"name": "NAME", "arguments": ', after="}", between=", ", end="]")
_NAMED = CallForm(before=TAG + "NAME" + ARGS, after="", between="")

MISTRAL = Family(
    name="mistral",
    opens=(TAG, ARGS, CALL_ID),
    reader=MistralReader,
    form=lambda template: _NAMED if ARGS in template else _LIST,
    tags=(TAG, ARGS, CALL_ID),
    control=(TAG, ARGS, CALL_ID),
)
