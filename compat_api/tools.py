"""What the dialects' messages and tools have in common."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from inference.errors import BadRequest
from inference.types import Message, Tool, ToolChoice


class WireFunction(Struct):
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class WireTool(Struct):
    """A tool as Ollama and OpenAI both write it."""

    type: str | None = None
    function: WireFunction | None = None
    name: str | None = None
    """With the two below: a function as /v1/responses has it; Cursor mixes both in one list."""
    description: str | None = None
    parameters: dict[str, Any] | None = None


def read_tools(wire: list[WireTool] | None) -> tuple[Tool, ...]:
    return tuple(read_tool(index, tool) for index, tool in enumerate(wire or ()))


def read_tool(index: int, wire: WireTool) -> Tool:
    field = f"tools[{index}]"
    if wire.type not in (None, "", "function"):
        raise BadRequest(f'"{field}.type": {wire.type!r} is not available, only "function" is', field)
    function = wire.function or WireFunction(wire.name, wire.description, wire.parameters)
    if not function.name:
        raise BadRequest(f'"{field}.function.name" is required', field)
    return Tool(
        name=function.name, description=function.description or "", parameters=function.parameters or {}
    )


def chosen(given: object, parallel: object) -> ToolChoice:
    """OpenAI's `tool_choice` and `parallel_tool_calls`, of both of its APIs; "none" leaves no tool to choose from.

    Raises BadRequest for what is none of its forms.
    """
    one = parallel is not False
    if given is None or given in ("auto", "none"):
        return ToolChoice(parallel=one)
    if given == "required":
        return ToolChoice(required=True, parallel=one)
    kind = given.get("type") if isinstance(given, dict) else None
    if isinstance(given, dict) and kind in ("function", "custom"):
        return ToolChoice(required=True, names=(_named(given),), parallel=one)
    if isinstance(given, dict) and kind == "allowed_tools":
        allowed = given.get("allowed_tools", given)
        tools = allowed.get("tools") if isinstance(allowed, dict) else None
        if isinstance(tools, list) and tools and allowed.get("mode") in ("auto", "required"):
            names = tuple(_named(tool) for tool in tools)
            return ToolChoice(required=allowed["mode"] == "required", names=names, parallel=one)
    raise BadRequest(
        'tool_choice: give "none", "auto", "required", a function by name, or allowed_tools', "tool_choice"
    )


def _named(tool: object) -> str:
    """{"type": "function", "name"} or the same with the name inside of "function"; or all that with "custom"."""
    if isinstance(tool, dict):
        inner = tool.get("function", tool.get("custom", tool))
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str) and name:
            return name
    raise BadRequest("tool_choice: the function has no name", "tool_choice")


def offered(tools: tuple[Tool, ...], choice: ToolChoice) -> tuple[Tool, ...]:
    """What the model is shown: all tools, or those alone that it may choose from if it wishes."""
    if choice.required or not choice.names:
        return tools
    return tuple(tool for tool in tools if tool.name in choice.names)


def role_name(role: str | None) -> str:
    """Lower case; OpenAI's 'developer' is a 'system'. Unknown ones pass: some templates know them."""
    name = (role or "").lower()
    return "system" if name == "developer" else name


def with_tool_names(messages: list[Message]) -> tuple[Message, ...]:
    """Tool results that give only a call's id get the name of the call before them."""
    names: dict[str, str] = {}
    named = []
    for message in messages:
        names.update((call.id, call.name) for call in message.tool_calls if call.id)
        if message.role == "tool" and not message.tool_name and message.tool_call_id in names:
            message = structs.replace(message, tool_name=names[message.tool_call_id])
        named.append(message)
    return tuple(named)
