"""Text of an answer -> events: thoughts, tool calls (Hermes tags), and content up to the first stop string.

    <think>…</think>            ReasoningDelta, without the tags. Only at the very start of the answer, as Ollama does,
                                so that content may speak of the tags. White space after either tag is dropped.
    <tool_call>{…}</tool_call>  ToolCall, when tools were given and the JSON is a call; else content, unchanged
    anything else               TextDelta, searched for stop strings

What could still become a tag or a stop string is held back, and nothing else: mostly one TextDelta for each piece.
Of several stop strings the one that is complete first wins, of two complete at once the longer: so it does not matter
how the text was cut into pieces.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from inference.prompt import CALL_CLOSE, CALL_OPEN, THINK_CLOSE, THINK_OPEN
from inference.types import Event, ReasoningDelta, TextDelta, Tool, ToolCall

_ID_LETTERS = string.ascii_lowercase + string.digits


class _Call(Struct, frozen=True):
    name: str
    arguments: dict[str, Any] | str | None = None


class OutputParser:
    """One answer. `thinking`: the model can think, asked or not; its thoughts never end up in the content.

    `starts_in_thinking`: the prompt already holds the opening tag. Tool calls are recognised only with `tools`; a
    well-formed call of a function that was not offered is a call too: the client can tell the model so.
    """

    def __init__(
        self, *, thinking: bool, starts_in_thinking: bool, tools: tuple[Tool, ...], stop: tuple[str, ...]
    ) -> None:
        self.stop_sequence: str | None = None
        self._stops = tuple(dict.fromkeys(s for s in stop if s))
        self._calls = bool(tools)
        self._marks = _Marks((*self._stops, CALL_OPEN) if tools else self._stops)
        self._events: list[Event] = []
        self._held = ""
        self._searched = 0
        self._step = self._content
        self._eat_space = False
        if starts_in_thinking:
            self._step, self._eat_space = self._thoughts, True
        elif thinking:
            self._step = self._beginning

    def push(self, pieces: Iterable[str]) -> list[Event]:
        """Events that these pieces completed; [] once a stop string was hit."""
        for piece in pieces:
            if self.stop_sequence is not None:
                break
            self._held += piece
            self._run()
        return self._take()

    def finish(self) -> list[Event]:
        """What was held back, at the end of the answer. A call that lacks only its closing tag counts."""
        if self.stop_sequence is None and self._held:
            if self._step == self._thoughts:
                self._reason(self._held)
            elif self._step == self._call and (call := _parsed(self._held[len(CALL_OPEN) :])) is not None:
                self._events.append(call)
            elif not self._stopped(self._held):
                self._show(self._held)
            self._held = ""
        return self._take()

    def _take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _run(self) -> None:
        """A step returns True when it changed to another one that may have work left."""
        while self._held and self.stop_sequence is None:
            if self._eat_space:
                self._held = self._held.lstrip()
                if not self._held:
                    return
                self._eat_space = False
            if not self._step():
                return

    def _beginning(self) -> bool:
        text = self._held.lstrip()
        if text.startswith(THINK_OPEN):
            self._held = text[len(THINK_OPEN) :]
            self._step, self._eat_space = self._thoughts, True
        elif THINK_OPEN.startswith(text):
            return False
        else:
            self._step = self._content
        return True

    def _thoughts(self) -> bool:
        at = self._held.find(THINK_CLOSE)
        if at >= 0:
            self._reason(self._held[:at])
            self._held = self._held[at + len(THINK_CLOSE) :]
            self._step, self._eat_space = self._content, True
            return True
        keep = _THOUGHT_MARKS.overlap(self._held)
        self._reason(self._held[: len(self._held) - keep])
        self._held = self._held[len(self._held) - keep :]
        return False

    def _content(self) -> bool:
        if not self._marks.strings:
            self._show(self._held)
            self._held = ""
            return False
        at = self._held.find(CALL_OPEN) if self._calls else -1
        if at < 0:
            self._release(self._held, "")
            return False
        # A stop string that is complete before the tag is, or with it, wins over the tag.
        if not self._stopped(self._held[: at + len(CALL_OPEN)]):
            self._show(self._held[:at])
            self._held = self._held[at:]
            self._step, self._searched = self._call, len(CALL_OPEN)
        return True

    def _call(self) -> bool:
        at = self._held.find(CALL_CLOSE, self._searched)
        if at < 0:
            self._searched = max(len(CALL_OPEN), len(self._held) - len(CALL_CLOSE) + 1)
            return False
        end = at + len(CALL_CLOSE)
        call = _parsed(self._held[len(CALL_OPEN) : at])
        self._step = self._content
        if call is not None:
            self._events.append(call)
            self._held = self._held[end:]
            self._eat_space = True
            return True
        again = self._held.find(CALL_OPEN, 1, end)  # the model began a second time inside of the first
        end = again if again >= 0 else end
        self._release(self._held[:end], self._held[end:])
        return True

    def _release(self, text: str, rest: str) -> None:
        """Shows content but for the end that could begin a stop string or a tag."""
        if not self._stopped(text):
            shown = len(text) - self._marks.overlap(text)
            self._show(text[:shown])
            self._held = text[shown:] + rest

    def _stopped(self, text: str) -> bool:
        """Shows the text before the stop string that is complete first, if there is one."""
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if not found:
            return False
        _, at, self.stop_sequence = min(found)
        self._show(text[:at])
        self._held = ""
        return True

    def _show(self, text: str) -> None:
        if text:
            self._events.append(TextDelta(text))

    def _reason(self, text: str) -> None:
        if text:
            self._events.append(ReasoningDelta(text))


class _Marks:
    """Strings that must not leak in part."""

    def __init__(self, strings: tuple[str, ...]) -> None:
        self.strings = strings
        self._first = frozenset(s[0] for s in strings)
        self._longest = max(map(len, strings), default=1)

    def overlap(self, text: str) -> int:
        """Length of the longest end of `text` that begins one of the strings."""
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at] in self._first:
                end = text[at:]
                if any(s.startswith(end) for s in self.strings):
                    return len(end)
        return 0


_THOUGHT_MARKS = _Marks((THINK_CLOSE,))


def _parsed(text: str) -> ToolCall | None:
    """A call {"name", "arguments"}; arguments may be absent, or an object spelled in a string, as some models do."""
    try:
        call = msgspec.json.decode(text.strip(), type=_Call)
        arguments = call.arguments or {}
        if isinstance(arguments, str):
            arguments = msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return ToolCall(_call_id(), call.name, arguments) if call.name else None


def _call_id() -> str:
    return "call_" + "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
