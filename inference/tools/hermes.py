"""Hermes, Qwen and most others: <tool_call>{"name": …, "arguments": {…}}</tool_call>, one call between two tags.

The tags are plain letters. What stands between them and is no call is text: without the tags where it began as a call,
with them where the model speaks of them.
"""

from __future__ import annotations

from inference.tools.family import CallForm, Family, Step, parsed

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


class HermesReader:
    def __init__(self, offered: bool) -> None:
        self._searched = len(OPEN)

    def read(self, held: str) -> Step | None:
        at = held.find(CLOSE, self._searched)
        if at < 0:
            self._searched = max(len(OPEN), len(held) - len(CLOSE) + 1)
            return None
        end = at + len(CLOSE)
        call = parsed(held[len(OPEN) : at])
        if call is not None:
            return Step(end, (call,), eat_space=True)
        again = held.find(OPEN, 1, end)  # the model began a second time inside of the first
        end = again if again >= 0 else end
        return Step(end, text=_untagged(held[:end]))

    def end(self, held: str) -> Step:
        """A call that lacks only its closing tag counts."""
        call = parsed(held[len(OPEN) :])
        return Step(len(held), (call,)) if call is not None else Step(len(held), text=_untagged(held))


def _untagged(block: str) -> str:
    inner = block[len(OPEN) :].lstrip()
    return inner.removesuffix(CLOSE).rstrip() if inner.startswith(("{", "[")) else block


FORM = CallForm(before='<tool_call>\n{"name": "NAME", "arguments": ', after="}\n</tool_call>")

HERMES = Family(
    name="hermes", opens=(OPEN,), reader=HermesReader, form=lambda template: FORM, tags=(OPEN, CLOSE)
)
