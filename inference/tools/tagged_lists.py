"""Phi and Granite: a JSON list of calls behind a tag.

Phi-4-mini    <|tool_call|>[{"name": …, "arguments": {…}}]<|/tool_call|>, or functools[…] in plain letters
Granite 3     <|tool_call|>[{"name": …, "arguments": {…}}], or <tool_call> in plain letters
"""

from __future__ import annotations

from inference.tools import hermes
from inference.tools.family import CallForm, Family, Reader, Step
from inference.tools.lists import ListReader
from inference.types import Tool

TAG = "<|tool_call|>"
CLOSE = "<|/tool_call|>"
LETTERS = "functools["


class _Tagged:
    """The reader for the tag that the held text begins with."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._reader: Reader | None = None

    def read(self, held: str) -> Step | None:
        if self._reader is None:
            self._reader = self._reader_of(held)
        return Step(len(CLOSE), eat_space=True) if self._reader is None else self._reader.read(held)

    def end(self, held: str) -> Step:
        return Step(len(held), text=held) if self._reader is None else self._reader.end(held)

    def _reader_of(self, held: str) -> Reader | None:
        if held.startswith(LETTERS):
            return ListReader(len(LETTERS) - 1, (CLOSE,), shown=True)
        if held.startswith(hermes.TAGS):
            return hermes.HermesReader(())
        return ListReader(len(TAG), (CLOSE,)) if held.startswith(TAG) else None


_CALL = '{"name": "NAME", "arguments": '
_PHI = CallForm(start=TAG + "[", before=_CALL, after="}", between=", ", end="]" + CLOSE)
_GRANITE = CallForm(start=TAG + "[", before=_CALL, after="}", between=", ", end="]")

PHI = Family(
    name="phi",
    opens=(TAG, CLOSE, LETTERS),
    reader=_Tagged,
    form=lambda template: _PHI,
    tags=(TAG, CLOSE),
    control=(TAG, CLOSE),
)
GRANITE = Family(
    name="granite",
    opens=(TAG, CLOSE, *hermes.TAGS),
    reader=_Tagged,
    form=lambda template: _GRANITE,
    tags=(TAG, CLOSE, *hermes.TAGS),
    control=(TAG, CLOSE, *hermes.TAGS),
)
