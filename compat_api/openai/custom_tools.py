"""Custom tools: what they take is a text, such as a patch, instead of an object.

A model is shown a function of one text, and its calls become custom calls again: in /v1/responses items of their own,
in chats `custom` entries for tools that came so. A tool that came flat, as Cursor sends its ApplyPatch, is called like
a function whose arguments are the bare text: Cursor reads nothing else.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from inference.types import ChatRequest, Tool, ToolCall

ARGUMENT = "input"
Shape = Literal["flat", "nested"]
Customs = dict[str, Shape]
"""The names of a request's custom tools, and how each was written."""

_PARAMETERS = {"type": "object", "properties": {ARGUMENT: {"type": "string"}}, "required": [ARGUMENT]}


class CustomToolsRequest(ChatRequest, frozen=True, kw_only=True):
    """A chat that may offer custom tools."""

    customs: Customs = {}


def tool(name: str, description: str | None, form: object) -> Tool:
    """A grammar in `form` is not enforced: the model is shown it."""
    said = description or ""
    if isinstance(form, dict) and isinstance(form.get("definition"), str):
        grammar = f"Grammar of {ARGUMENT} ({form.get('syntax')}):\n{form['definition']}"
        said = f"{said}\n\n{grammar}".strip()
    return Tool(name=name, description=said, parameters=_PARAMETERS)


def text_of(call: ToolCall) -> str:
    """What the model calls the tool with."""
    given = call.arguments.get(ARGUMENT)
    return given if isinstance(given, str) else orjson.dumps(call.arguments).decode()


def called(call_id: str, name: str, text: str) -> ToolCall:
    """Of an earlier turn."""
    return ToolCall(call_id, name, {ARGUMENT: text})


def chat_call(call: ToolCall, shape: Shape) -> dict[str, Any]:
    """The kind of a call in a chat, and its words."""
    if shape == "nested":
        return {"type": "custom", "custom": {"name": call.name, "input": text_of(call)}}
    return {"type": "function", "function": {"name": call.name, "arguments": text_of(call)}}


def from_arguments(call_id: str, name: str, arguments: str) -> ToolCall:
    """A call of a flat tool as it comes back: an object, if it is one, else the bare text."""
    try:
        return ToolCall(call_id, name, msgspec.json.decode(arguments, type=dict[str, Any]))
    except (msgspec.MsgspecError, RecursionError):
        return called(call_id, name, arguments)
