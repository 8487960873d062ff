"""Text of an answer -> events: thoughts, tool calls, and content up to the first stop string.

    <think>…</think>            ReasoningDelta, without the tags. Only at the very start of the answer, as Ollama does,
                                so that content may speak of the tags. White space after either tag is dropped.
    a call in the family's tags ToolCall, when tools were given and the reader of the family says so; else content
    anything else               TextDelta, searched for stop strings

What could still become a tag or a stop string is held back, and nothing else: mostly one TextDelta for each piece.
Of several stop strings the one that is complete first wins, of two complete at once the longer: so it does not matter
how the text was cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from inference.events import Event, ReasoningDelta, TextDelta
from inference.thinking import THINK, ThinkTags
from inference.tools.family import Family, Reader, Step
from inference.tools.hermes import HERMES
from inference.types import Tool


class OutputParser:
    """One answer. `thinking`: the model can think, asked or not; its thoughts never end up in the content.

    `starts_in_thinking`: the prompt already holds the opening tag. `show_thoughts`: False drops them. Tool calls are
    recognised only with `tools`; a well-formed call of a function that was not offered is a call too: the client can
    tell the model so. `one_call`: the answer is `done` with the first.
    """

    def __init__(
        self,
        *,
        thinking: bool,
        starts_in_thinking: bool,
        tools: tuple[Tool, ...],
        stop: tuple[str, ...],
        family: Family = HERMES,
        tags: ThinkTags = THINK,
        show_thoughts: bool = True,
        one_call: bool = False,
    ) -> None:
        self.stop_sequence: str | None = None
        self.done = False
        """Nothing that may follow counts: a stop string was hit, or the one call was made."""
        self._stops = tuple(dict.fromkeys(s for s in stop if s))
        self._tools = tools
        self._reads = bool(tools) or family.always
        self._silent = tags.answer if thinking or starts_in_thinking else ()
        self._opens = (*family.opens, *self._silent) if self._reads else self._silent
        self._marks = _marks((*self._stops, *self._opens))
        self._family, self._tags = family, tags
        self._closes = family.ends_thoughts or (tags.close,)
        self._show_thoughts, self._one_call = show_thoughts, one_call
        self._events: list[Event] = []
        self._held = ""
        self._eat_space = False
        self._reader: Reader | None = None
        self._answer = self._opening if self._reads and family.at_start else self._content
        self._step = self._answer
        if starts_in_thinking:
            self._step, self._eat_space = self._thoughts, True
        elif thinking and not family.ends_thoughts:
            self._step = self._beginning

    @property
    def in_thoughts(self) -> bool:
        return self._step == self._thoughts

    @property
    def may_think(self) -> bool:
        """In thoughts, or they may still begin."""
        return self._step in (self._thoughts, self._beginning) or self._family.think is not None

    def push(self, pieces: Iterable[str]) -> list[Event]:
        """Events that these pieces completed; [] once it is done."""
        for piece in pieces:
            if self.done:
                break
            self._held += piece
            self._run()
        return self._take()

    def finish(self) -> list[Event]:
        """What was held back, at the end of the answer; the reader says whether it is a call all the same."""
        if not self.done and self._held:
            if self._step == self._thoughts:
                self._reason(self._held)
            elif self._step == self._call and self._reader is not None:
                step = self._reader.end(self._held)
                self._events += step.calls[:1] if self._one_call else step.calls
                self._end(self._family.shown(step.text))
            else:
                self._end(self._held)
            self._held = ""
        return self._take()

    def _end(self, text: str) -> None:
        if not self._stopped(text):
            self._show(text)

    def _take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _run(self) -> None:
        """A step returns True when it changed to another one that may have work left."""
        while self._held and not self.done:
            if self._eat_space:
                self._held = self._held.lstrip()
                if not self._held:
                    return
                self._eat_space = False
            if not self._step():
                return

    def _beginning(self) -> bool:
        text, opens = self._held.lstrip(), self._tags.open
        if text.startswith(opens):
            self._held = text[len(opens) :]
            self._step, self._eat_space = self._thoughts, True
        elif opens.startswith(text):
            return False
        else:
            self._step = self._answer
        return True

    def _thoughts(self) -> bool:
        found = _first(self._held, self._closes)
        if found is not None:
            at, close = found
            self._reason(self._held[:at])
            if close == self._tags.close:
                self._held = self._held[at + len(close) :]
                self._step, self._eat_space = self._answer, True
            else:  # a tag of the family, which its reader takes
                self._held = self._held[at:]
                self._step = self._content
            return True
        keep = _marks(self._closes).overlap(self._held)
        self._reason(self._held[: len(self._held) - keep])
        self._held = self._held[len(self._held) - keep :]
        return False

    def _opening(self) -> bool:
        self._reader, self._step = self._family.reader(self._tools), self._call
        return True

    def _content(self) -> bool:
        if not self._marks.strings:
            self._show(self._held)
            self._held = ""
            return False
        found = _first(self._held, self._opens) if self._opens else None
        if found is None:
            self._release(self._held, "")
            return False
        at, tag = found
        # A stop string that is complete before the tag is, or with it, wins over the tag.
        if not self._stopped(self._held[: at + len(tag)]):
            self._show(self._held[:at])
            self._held = self._held[at:]
            if tag in self._silent:
                self._held, self._eat_space = self._held[len(tag) :], True
            else:
                self._opening()
        return True

    def _call(self) -> bool:
        assert self._reader is not None
        step = self._reader.read(self._held)
        if step is None:
            return False
        self._apply(step)
        return True

    def _apply(self, step: Step) -> None:
        rest = self._held[step.size :]
        self._events += step.calls
        self._eat_space = step.eat_space
        if self._one_call and step.calls:
            del self._events[len(self._events) - len(step.calls) + 1 :]
            self._held, self.done = "", True
            return
        if step.then == "content":
            self._step = self._content
        elif step.then == "thoughts":
            self._step = self._thoughts
        if text := self._family.shown(step.text):
            self._release(text, rest)
        else:
            self._held = rest

    def _release(self, text: str, rest: str) -> None:
        """Shows content but for the end that could begin a stop string or a tag."""
        if not self._stopped(text):
            shown = len(text) - self._marks.overlap(text)
            self._show(text[:shown])
            self._held = text[shown:] + rest

    def _stopped(self, text: str) -> bool:
        """Shows the text before the stop string that is complete first, if there is one."""
        found = _first(text, self._stops) if self._stops else None
        if found is None:
            return False
        at, self.stop_sequence = found
        self._show(text[:at])
        self._held, self.done = "", True
        return True

    def _show(self, text: str) -> None:
        if text:
            self._events.append(TextDelta(text))

    def _reason(self, text: str) -> None:
        if text and self._show_thoughts:
            self._events.append(ReasoningDelta(text))


def _first(text: str, strings: tuple[str, ...]) -> tuple[int, str] | None:
    """Place and string of the one that is complete first in `text`; of two complete at once the longer."""
    if len(strings) == 1:
        at = text.find(strings[0])
        return (at, strings[0]) if at >= 0 else None
    found = [(at + len(string), at, string) for string in strings if (at := text.find(string)) >= 0]
    return min(found)[1:] if found else None


class _Marks:
    """Strings that must not leak in part."""

    def __init__(self, strings: tuple[str, ...]) -> None:
        self.strings = strings
        self._first = frozenset(s[0] for s in strings)
        self._longest = max(map(len, strings), default=1)

    def overlap(self, text: str) -> int:
        """Length of the longest end of `text` that begins one of the strings and is shorter than it."""
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at] in self._first:
                end = text[at:]
                if any(len(s) > len(end) and s.startswith(end) for s in self.strings):
                    return len(end)
        return 0


_marks = lru_cache(256)(_Marks)
