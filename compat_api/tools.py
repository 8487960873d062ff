"""What the dialects' messages and tools have in common."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from inference.errors import BadRequest
from inference.types import Message, Tool


class WireFunction(Struct):
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class WireTool(Struct):
    """A tool as Ollama and OpenAI both write it."""

    type: str | None = None
    function: WireFunction | None = None


def read_tools(wire: list[WireTool] | None) -> tuple[Tool, ...]:
    return tuple(_tool(index, tool) for index, tool in enumerate(wire or ()))


def _tool(index: int, wire: WireTool) -> Tool:
    field = f"tools[{index}]"
    if wire.type not in (None, "", "function"):
        raise BadRequest(f'"{field}.type": {wire.type!r} is not available, only "function" is', field)
    if wire.function is None or not wire.function.name:
        raise BadRequest(f'"{field}.function.name" is required', field)
    return Tool(
        name=wire.function.name,
        description=wire.function.description or "",
        parameters=wire.function.parameters or {},
    )


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
