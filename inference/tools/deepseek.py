"""DeepSeek V3, V3.1 and R1: each call between tags of its own, all of them between two more.

V3, R1    <｜tool▁call▁begin｜>function<｜tool▁sep｜>name, then the arguments between ```json and ```
V3.1      <｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}<｜tool▁call▁end｜>
"""

from __future__ import annotations

import re

from inference.tools.family import CallForm, Family, Step, arguments, made
from inference.types import Tool, ToolCall

ALL, ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
SEP = "<｜tool▁sep｜>"
_LONGEST = max(map(len, (ALL_END, CALL, CALL_END)))
_FENCED = re.compile(r"\s*([^\s{]+)\s*```(?:json)?\s*(.*?)\s*(?:```)?\s*", re.DOTALL)


class DeepSeekReader:
    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._searched = len(CALL)

    def read(self, held: str) -> Step | None:
        if not held.startswith(CALL):
            tag = next(tag for tag in (ALL, ALL_END, CALL_END, SEP) if held.startswith(tag))
            return Step(len(tag), eat_space=True)
        found = [at for tag in (CALL_END, CALL, ALL_END) if (at := held.find(tag, self._searched)) >= 0]
        if not found:
            self._searched = max(len(CALL), len(held) - _LONGEST + 1)
            return None
        end = min(found)
        if call := _call(held[len(CALL) : end]):
            return Step(end, (call,))
        return Step(end, text=_text(held[len(CALL) : end]))

    def end(self, held: str) -> Step:
        if not held.startswith(CALL):
            return Step(len(held))
        call = _call(held[len(CALL) :])
        return Step(len(held), (call,)) if call else Step(len(held), text=_text(held[len(CALL) :]))


def _call(body: str) -> ToolCall | None:
    left, sep, right = body.partition(SEP)
    if fenced := _FENCED.fullmatch(right):
        name, text = fenced[1], fenced[2]
    else:
        name, text = left.strip(), right
    return made(name, arguments(text)) if sep and text.strip() else None


def _text(body: str) -> str:
    return body.replace(SEP, " ")


_FENCES = CallForm(
    start=ALL, before=CALL + "function" + SEP + "NAME\n```json\n", after="\n```" + CALL_END, end=ALL_END
)
_PLAIN = CallForm(start=ALL, before=CALL + "NAME" + SEP, after=CALL_END, between="", end=ALL_END)

DEEPSEEK = Family(
    name="deepseek",
    opens=(ALL, ALL_END, CALL, CALL_END, SEP),
    reader=DeepSeekReader,
    form=lambda template: _FENCES if "```json" in template else _PLAIN,
    tags=(ALL, ALL_END, CALL, CALL_END, SEP),
    control=(ALL, ALL_END, CALL, CALL_END, SEP),
)
