"""Calls as a JSON list behind a tag, `TAG [{"name": …, "arguments": …}, …]`: each as soon as it is complete."""

from __future__ import annotations

from collections.abc import Callable

from inference.tools.family import JsonEnd, Step, behind_space, parsed
from inference.types import ToolCall


class ListReader:
    """`tag` is what the held text begins with; `shown`: it is text where nothing follows that begins like a call.

    `closes`: tags that may stand behind the list. A single object in the place of the list is a call too.
    """

    def __init__(
        self,
        tag: int,
        closes: tuple[str, ...] = (),
        shown: bool = False,
        call_of: Callable[[str], ToolCall | None] = parsed,
    ) -> None:
        self._tag = tag
        self._closes = closes
        self._call_of = call_of
        self._shown = 0 if shown else tag
        self._at = tag
        self._listed = False
        self._next = self._first
        self._end: JsonEnd | None = None

    def read(self, held: str) -> Step | None:
        return self._next(held)

    def end(self, held: str) -> Step:
        text = held[self._shown :]
        return Step(len(held), text=text if text.strip() else "")

    def _first(self, held: str) -> Step | None:
        at = behind_space(held, self._tag)
        if at == len(held):
            return None
        if held[at] == "[":
            self._listed, self._at, self._next = True, at + 1, self._element
        elif held[at] == "{":
            self._at, self._next = at, self._element
        else:
            return Step(self._tag, text=held[self._shown : self._tag])
        return self._next(held)

    def _element(self, held: str) -> Step | None:
        if self._end is None:
            at = behind_space(held, self._at)
            if at == len(held):
                return None
            if held[at] != "{":
                return self._text(held, at)
            self._at, self._end, self._shown = at, JsonEnd(at), max(self._shown, self._tag)
        end = self._end.find(held)
        if end is None:
            return None
        call = self._call_of(held[self._at : end])
        if call is None:
            return self._text(held, end)
        self._shown = self._at = self._tag = 0
        self._end = None
        self._next = self._after if self._listed else self._close
        return Step(end, (call,), then="reader")

    def _text(self, held: str, end: int) -> Step:
        """No list of calls: what was held back is content."""
        return Step(end, text=held[self._shown : end])

    def _after(self, held: str) -> Step | None:
        at = behind_space(held, 0)
        if at == len(held):
            return None
        if held[at] == ",":
            self._at, self._next = at + 1, self._element
            return self._element(held)
        if held[at] != "]":
            return Step(at)
        self._next = self._close
        return Step(at + 1, then="reader")

    def _close(self, held: str) -> Step | None:
        at = behind_space(held, 0)
        rest = held[at:]
        for tag in self._closes:
            if rest.startswith(tag):
                return Step(at + len(tag), eat_space=True)
        if not rest or any(tag.startswith(rest) for tag in self._closes):
            return None
        return Step(at)
