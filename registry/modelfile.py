"""Modelfiles: text -> instructions -> text, in the grammar of Ollama's parser.

An instruction is a word, in any case, and what follows it: the rest of the line, or a text in quotation marks that
may go on over lines. Between quotation marks nothing is an escape. A text in `\"\"\"` ends at the `\"\"\"` that ends a
line. `#` begins a comment where an instruction could begin, nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from inference.errors import BadRequest
from registry import parameters

ROLES: Final = ("system", "user", "assistant")
INSTRUCTIONS: Final = ("FROM", "SYSTEM", "TEMPLATE", "PARAMETER", "MESSAGE", "LICENSE", "ADAPTER")
IGNORED: Final = ("RENDERER", "PARSER", "REQUIRES")
"""Names of code inside Ollama; here the model's own template does that work."""
LARGEST_CHARS: Final = 4 * 1024 * 1024

_QUOTES: Final = ('"""', '"')
_NEEDY: Final = ("FROM", "PARAMETER", "ADAPTER")
_LINE: Final = re.compile(r"\s*([^\s#]\S*)[ \t]*(.*)")
_PARTS: Final = re.compile(r"(\S*)[ \t]*(.*)")


class Said(NamedTuple):
    """One MESSAGE."""

    role: str
    content: str


class Modelfile(Struct, frozen=True, kw_only=True):
    """What a Modelfile says; '' and empty for what it does not mention."""

    source: str
    """FROM: a model's name, or a path for who reads the file where it lies."""
    system: str | None = None
    template: str | None = None
    parameters: Mapping[str, Any] = {}
    messages: tuple[Said, ...] = ()
    licences: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()


class ModelfileError(BadRequest):
    """`line` counts from 1."""

    def __init__(self, line: int, fault: str) -> None:
        super().__init__(f"Modelfile line {line}: {fault}", "modelfile")
        self.line = line


class Instruction(NamedTuple):
    line: int
    word: str
    """In capitals."""
    head: str
    """The name of a PARAMETER, the role of a MESSAGE."""
    value: str


def parse(text: str) -> Modelfile:
    """Raises ModelfileError, which names the line."""
    if len(text) > LARGEST_CHARS:
        raise BadRequest(
            f"the Modelfile has {len(text)} characters; at most {LARGEST_CHARS} are read", "modelfile"
        )
    found: dict[str, Any] = {}
    set_parameters: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {"MESSAGE": [], "LICENSE": [], "ADAPTER": []}
    for instruction in instructions(text):
        line, word, _, value = instruction
        if word == "PARAMETER":
            _set_parameter(instruction, set_parameters)
        elif word == "MESSAGE":
            lists[word].append(_said(instruction))
        elif word in lists:
            lists[word].append(value)
        elif word == "FROM" and word in found:
            raise ModelfileError(line, "a second FROM; a model is made from one other")
        elif word not in IGNORED:
            found[word] = value
    if not found.get("FROM"):
        raise ModelfileError(text.count("\n") + 1, "no FROM line; begin with FROM and a model's name")
    return Modelfile(
        source=found["FROM"],
        system=found.get("SYSTEM"),
        template=found.get("TEMPLATE"),
        parameters=set_parameters,
        messages=tuple(lists["MESSAGE"]),
        licences=tuple(lists["LICENSE"]),
        adapters=tuple(lists["ADAPTER"]),
    )


def instructions(text: str) -> Iterator[Instruction]:
    """Each with the line it begins on. Raises ModelfileError for what is none."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        begun, match = at + 1, _LINE.match(lines[at])
        at += 1
        if match is None:
            continue
        word, rest = match[1].upper(), match[2]
        if word not in INSTRUCTIONS and word not in IGNORED:
            known = ", ".join((*INSTRUCTIONS, *IGNORED))
            raise ModelfileError(begun, f"'{word[:40]}' is no instruction; the instructions are {known}")
        head = ""
        if word in ("PARAMETER", "MESSAGE"):
            head, rest = _PARTS.match(rest).groups()  # type: ignore[union-attr]  # it matches every text
        value, at = _value(rest, lines, at, begun)
        if (word in ("PARAMETER", "MESSAGE") and not head) or (not value and word in _NEEDY):
            raise ModelfileError(begun, f"{word} {head} has no value".replace("  ", " "))
        yield Instruction(begun, word, head, value)


def _value(rest: str, lines: Sequence[str], at: int, begun: int) -> tuple[str, int]:
    """The value that begins with `rest`, and the index of the line after it."""
    quote = next((mark for mark in _QUOTES if rest.startswith(mark)), "")
    if not quote:
        return rest.strip(), at
    text = rest[len(quote) :]
    while True:
        trimmed = text.rstrip(" \t")
        if trimmed.endswith(quote):
            return trimmed[: -len(quote)], at
        if at >= len(lines):
            raise ModelfileError(begun, f"the text that begins with {quote} here never ends with {quote}")
        text, at = f"{text}\n{lines[at]}", at + 1


def _set_parameter(instruction: Instruction, found: dict[str, Any]) -> None:
    try:
        for key, value in parameters.from_text(instruction.head, instruction.value).items():
            found[key] = [*found.get(key, ()), *value] if isinstance(value, list) else value
    except BadRequest as error:
        raise ModelfileError(instruction.line, str(error)) from None


def _said(instruction: Instruction) -> Said:
    role = instruction.head.lower()
    if role not in ROLES:
        raise ModelfileError(instruction.line, f"message role '{role[:40]}' is none of {', '.join(ROLES)}")
    return Said(role, instruction.value)


def render(modelfile: Modelfile) -> str:
    """A text that `parse` reads back as the same value; a `\"\"\"` at a line's end, which the grammar cannot hold,
    is taken apart."""
    lines = [f"FROM {modelfile.source}"]
    if modelfile.template:
        lines.append(f"TEMPLATE {quoted(modelfile.template)}")
    if modelfile.system:
        lines.append(f"SYSTEM {quoted(modelfile.system)}")
    lines += [f"ADAPTER {quoted(path)}" for path in modelfile.adapters]
    for name, value in parameters.pairs(modelfile.parameters):
        shown = quoted(value) if isinstance(value, str) else parameters.literal(value)
        lines.append(f"PARAMETER {name} {shown}")
    lines += [f"MESSAGE {said.role} {quoted(said.content)}" for said in modelfile.messages]
    lines += [f"LICENSE {quoted(text)}" for text in modelfile.licences]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """As Ollama prints it: in `\"\"\"` where the text has lines or quotation marks of its own, bare where it can be."""
    if "\n" in text or '"' in text:
        held = re.sub(r'"""(?=[ \t]*\n)', '"" "', text)
        return f'"""{held}"""'
    return f'"{text}"' if text != text.strip() or not text else text
