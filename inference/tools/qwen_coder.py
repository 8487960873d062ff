"""Qwen3-Coder, Qwen3.5 and Nemotron 3: the arguments of a call as text, each between tags of its own.

    <tool_call>
    <function=NAME>
    <parameter=KEY>
    VALUE
    </parameter>
    </function>
    </tool_call>

The outer tags may be absent, and around an object in JSON they are those of Hermes. Nothing in a value is escaped: it
ends at the tag behind which the call goes on, so that text which speaks of such tags may be a value. What of it is a
string and what JSON, the schema of the tool says. A call whose <function=…> the answer leaves open is none: it may have
lost arguments.
"""

from __future__ import annotations

import re

from inference.tools.family import Family, Step, behind_space, made
from inference.tools.hermes import CLOSE, FORM, OPEN, HermesReader, begins, closing
from inference.tools.written_values import value_of
from inference.types import Tool

FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"
TAGS = (OPEN, CLOSE, FUNCTION, FUNCTION_END, PARAMETER, PARAMETER_END)
_VALUE_END = re.compile(f"{PARAMETER_END}|{FUNCTION_END}")
_BEHIND_VALUE = {PARAMETER_END: (PARAMETER, FUNCTION_END, CLOSE), FUNCTION_END: (CLOSE,)}
"""Where a value ends, and with what the call must go on for it to be the end."""
_NAME = re.compile(r"([^<>\n]+)>")
_NAME_SO_FAR = re.compile(r"[^<>\n]*")
_LONGEST_NAME = 200


class QwenCoderReader:
    """One call, or a tag that belongs to none."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._schemas = {tool.name: tool.parameters for tool in tools}
        self._next = self._first
        self._json: HermesReader | None = None
        self._function = self._key = ""
        self._values: dict[str, str] = {}
        self._at = 0
        """Where what comes next in the call begins."""
        self._searched = 0

    def read(self, held: str) -> Step | None:
        return self._next(held) if self._json is None else self._json.read(held)

    def end(self, held: str) -> Step:
        if self._json is not None:
            return self._json.end(held)
        if self._next == self._closed:
            return Step(len(held), text="" if begins(held, 0, TAGS) else held)
        at = held.rfind(FUNCTION_END, self._at)
        if self._next == self._value and at >= 0 and behind_space(held, at + len(FUNCTION_END)) == len(held):
            self._take(held[self._at : at])
            return self._called(held, len(held))
        text = held.removeprefix(OPEN)
        return Step(len(held), text=text if text.strip() else "")

    def _first(self, held: str) -> Step | None:
        if held.startswith(FUNCTION):
            return self._head(held)
        if not held.startswith(OPEN):
            return Step(next(len(tag) for tag in TAGS if held.startswith(tag)))
        at = behind_space(held, len(OPEN))
        if held.startswith(FUNCTION, at):
            return Step(at, then="reader")
        if at == len(held) or begins(held, at, (FUNCTION,)):
            return None
        self._json = HermesReader(())
        return self._json.read(held)

    def _head(self, held: str) -> Step | None:
        found = _name(held, len(FUNCTION))
        if found is None:
            return None
        self._function, self._at = found
        if not self._function:
            return Step(len(FUNCTION))
        self._next = self._between
        return self._between(held)

    def _between(self, held: str) -> Step | None:
        """Behind <function=…> or a parameter."""
        at = behind_space(held, self._at)
        if held.startswith(PARAMETER, at):
            self._at, self._next = at + len(PARAMETER), self._parameter
            return self._parameter(held)
        if held.startswith(FUNCTION_END, at):
            return self._called(held, at + len(FUNCTION_END))
        if held.startswith(CLOSE, at):
            return self._called(held, at)
        if at == len(held) or begins(held, at, _BEHIND_VALUE[PARAMETER_END]):
            return None
        return Step(at, text=held[:at])

    def _parameter(self, held: str) -> Step | None:
        found = _name(held, self._at)
        if found is None:
            return None
        self._key, at = found
        if not self._key:
            return Step(self._at, text=held[: self._at])
        self._at = self._searched = at
        self._next = self._value
        return self._value(held)

    def _value(self, held: str) -> Step | None:
        while match := _VALUE_END.search(held, self._searched):
            tag = match[0]
            at = behind_space(held, match.end())
            if held.startswith(_BEHIND_VALUE[tag], at):
                self._take(held[self._at : match.start()])
                self._at, self._next = match.end() if tag == PARAMETER_END else match.start(), self._between
                return self._between(held)
            if at == len(held) or begins(held, at, _BEHIND_VALUE[tag]):
                self._searched = match.start()
                return None
            self._searched = match.end()
        self._searched = max(self._searched, len(held) - len(PARAMETER_END) + 1)
        return None

    def _take(self, value: str) -> None:
        """One line end belongs to the tag before the value, and one to the tag behind it."""
        self._values[self._key] = value.removeprefix("\n").removesuffix("\n")

    def _called(self, held: str, end: int) -> Step:
        schema = self._schemas.get(self._function, {})
        call = made(self._function, {key: value_of(text, key, schema) for key, text in self._values.items()})
        if call is None:
            return Step(end, text=held[:end])
        self._next = self._closed
        return Step(end, (call,), then="reader", eat_space=True)

    def _closed(self, held: str) -> Step | None:
        return closing(held, (CLOSE, FUNCTION_END))


def _name(held: str, at: int) -> tuple[str, int] | None:
    """The name that begins at `at`, and the place behind its tag; '' where there is none, None while it is not over."""
    match = _NAME.match(held, at, at + _LONGEST_NAME)
    if match:
        return match[1].strip(" \"'"), match.end()
    unfinished = len(held) - at < _LONGEST_NAME and _NAME_SO_FAR.fullmatch(held, at)
    return None if unfinished else ("", at)


QWEN_CODER = Family(
    name="qwen3-coder",
    opens=TAGS,
    reader=QwenCoderReader,
    form=lambda template: FORM,  # arguments that a schema constrains are JSON, which the reader takes too
    tags=TAGS,
    control=TAGS,
)
