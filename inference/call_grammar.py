"""A grammar for answers that must call: one of these tools, in the form of the model's family, with arguments that
their JSON schema allows. It goes the way of every grammar: bounds first, then the checker process."""

from __future__ import annotations

from typing import Any

import msgspec

from inference.errors import BadRequest, InvalidGrammar
from inference.grammar import check_bounds, thinking_of
from inference.pattern_grammar import quoted
from inference.schema_grammar import TooLarge, Unsupported, rules_of
from inference.thinking import ThinkTags
from inference.tools.family import CallForm
from inference.types import Constraint, Tool, ToolChoice

MOST_CALLS = 16
"""In one answer: a small model that is made to call would else never stop."""

_VALUES = frozenset({"const", "enum", "default", "examples"})
"""Keywords that hold values and no schemas."""


def check_choice(tools: tuple[Tool, ...], choice: ToolChoice) -> None:
    """Raises BadRequest for a choice among tools that were not given."""
    if choice.required and not tools:
        raise BadRequest("tool_choice: a call is required and no tools are given", "tool_choice")
    given = {tool.name for tool in tools}
    for name in choice.names:
        if name not in given:
            raise BadRequest(f"tool_choice: no tool {name[:80]!r} is in tools", "tool_choice")


def calls_config(
    tools: tuple[Tool, ...],
    choice: ToolChoice,
    form: CallForm,
    *,
    after_thinking: bool,
    thinking_open: bool,
    tags: ThinkTags,
    vocab_size: int,
) -> dict[str, Any]:
    """What the worker needs, as `grammar.structured_config` has it. Raises InvalidGrammar that names the tool."""
    allowed = [tool for tool in tools if not choice.names or tool.name in choice.names]
    schemas = {f"t{index}": _schema(tool, f"#/$defs/t{index}") for index, tool in enumerate(allowed)}
    try:
        check_bounds(Constraint(msgspec.json.encode({"$defs": schemas}).decode()))
        rules, text, relaxed = rules_of(
            {"$defs": schemas}, [f"#/$defs/{name}" for name in schemas], vocab_size
        )
    except (InvalidGrammar, Unsupported, TooLarge) as error:
        detail = str(error).replace("invalid JSON schema in format: ", "")
        for index, tool in enumerate(allowed):
            detail = detail.replace(f"$.$defs.t{index}", f"tool {tool.name!r}: $")
        raise InvalidGrammar(f"invalid JSON schema in tools: {detail}", "tools") from error
    calls = [
        f"{quoted(form.opening(tool.name))} {rule} {_literal(form.after)}"
        for tool, rule in zip(allowed, rules, strict=True)
    ]
    more = "" if form.one or not choice.parallel else f"({quoted(form.between)} call){{0,{MOST_CALLS - 1}}}"
    root = f"root ::= {_literal(form.start)} call {more} {_literal(form.end)}\ncall ::= {' | '.join(calls)}\n"
    thinking = thinking_of(after_thinking, thinking_open, tags)
    return {"grammar": root + text, **thinking, "relaxed": ", ".join(relaxed)}


def _literal(text: str) -> str:
    return quoted(text) if text else ""


def _schema(tool: Tool, place: str) -> dict[str, Any]:
    """The tool's schema as part of a larger one: an object, with references that begin where it begins."""
    if tool.parameters.get("type", "object") != "object":
        raise InvalidGrammar(
            f"invalid JSON schema in tools: tool {tool.name!r}: $.type: arguments are an object", "tools"
        )
    schema = {"type": "object", **_moved(tool.parameters, place)}
    # A schema without properties allows any; a tool whose list of them is empty takes none.
    return schema if schema.get("properties", True) else {"additionalProperties": False, **schema}


def _moved(schema: Any, place: str) -> Any:
    if isinstance(schema, list):
        return [_moved(part, place) for part in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {
        key: part if key in _VALUES and not isinstance(part, dict) else _moved(part, place)
        for key, part in schema.items()
    }
    pointer = schema.get("$ref")
    if isinstance(pointer, str) and pointer.startswith("#"):
        moved["$ref"] = place + pointer[1:]
    return moved
