"""gpt-oss (Harmony): an answer of messages, each in a channel that its header names.

    <|channel|>analysis<|message|>…<|end|>                               thoughts
    <|start|>assistant<|channel|>final<|message|>…<|return|>             content, and so is commentary to nobody
    <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>      a call

Headers are never shown, nor is one that the answer ends in.
"""

from __future__ import annotations

import re

from inference.thinking import ThinkTags
from inference.tools.family import CallForm, Family, Step, arguments, made
from inference.types import Tool, ToolCall

CHANNEL, MESSAGE, START, CONSTRAIN = "<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>")
BREAKS = (START, CHANNEL, *ENDS)
"""Where a message is over."""
TAGS = (*BREAKS, MESSAGE, CONSTRAIN)
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([^\s<]+)")
_ANALYSIS = re.compile(r"<\|channel\|>\s*analysis\b")
_AT_START = " to="
_LONGEST_HEADER = 400


class ChannelReader:
    """One header, and the body of a call behind it."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._offered = bool(tools)
        self._name = ""
        self._body = 0
        self._searched = 0

    def read(self, held: str) -> Step | None:
        return self._call(held) if self._body else self._header(held)

    def _header(self, held: str) -> Step | None:
        if not held.startswith(TAGS):
            if held.startswith(_AT_START):
                pass
            elif any(tag.startswith(held) for tag in (*TAGS, _AT_START)):
                return None
            else:
                return Step(0)  # an answer without a header
        for tag in ENDS:
            if held.startswith(tag):
                return Step(len(tag))
        at = held.find(MESSAGE, 0, _LONGEST_HEADER)
        if at < 0:
            return None if len(held) < _LONGEST_HEADER else Step(_tag_size(held))
        header, body = held[:at], at + len(MESSAGE)
        recipient = _RECIPIENT.search(header)
        if recipient is not None and self._offered:
            self._name, self._body = recipient[1], body
            self._searched = body
            return self._call(held)
        return Step(body, then="thoughts" if _ANALYSIS.search(header) else "content")

    def _call(self, held: str) -> Step | None:
        found = [at for tag in BREAKS if (at := held.find(tag, self._searched)) >= 0]
        if not found:
            self._searched = max(self._body, len(held) - _LONGEST + 1)
            return None
        end = min(found)
        call = self._made(held[self._body : end])
        return Step(end, (call,)) if call else Step(end, text=held[self._body : end])

    def _made(self, body: str) -> ToolCall | None:
        return made(self._name, arguments(body))

    def end(self, held: str) -> Step:
        """The tag behind a call ends the answer, so it is complete as it stands if its arguments are."""
        if not self._body:
            return Step(len(held), text="" if held.startswith("<") else held)
        body = held[self._body :]
        call = self._made(body) if body.strip() else None
        return Step(len(held), (call,)) if call else Step(len(held), text=body)


def _tag_size(held: str) -> int:
    return next((len(tag) for tag in TAGS if held.startswith(tag)), 0)


_LONGEST = max(map(len, BREAKS))
_FORM = CallForm(
    before=CHANNEL + "commentary to=functions.NAME " + CONSTRAIN + "json" + MESSAGE, after="", one=True
)

CHANNELS = Family(
    name="channels",
    opens=TAGS,
    reader=ChannelReader,
    form=lambda template: _FORM,
    at_start=True,
    always=True,
    ends_thoughts=BREAKS,
    think=ThinkTags(CHANNEL + "analysis" + MESSAGE, "<|end|>" + START + "assistant"),
    answer_only=CHANNEL + "final" + MESSAGE,
    tags=TAGS,
    control=TAGS,
)
