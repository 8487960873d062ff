"""Tools of /v1/responses: functions, namespaces that hold functions, custom tools, and the calls of earlier turns.

Codex puts the tools of each MCP server into a namespace, and finds a tool again only by both of its names. A model
knows one name for a tool: it is shown `namespace__name`, and its calls are told apart again on their way back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from compat_api.openai import custom_tools
from compat_api.openai.custom_tools import Customs
from inference.errors import BadRequest
from inference.types import Tool, ToolCall

Spaces = dict[str, tuple[str, str]]
"""The name that the model knows -> namespace and name, for tools that came in a namespace."""


class Offer(NamedTuple):
    tools: list[Tool]
    spaces: Spaces
    customs: Customs


def read_tools(wire: list[Any]) -> Offer:
    """Other kinds than functions, namespaces and custom tools run in the original service, and are left out."""
    tools: list[Tool] = []
    spaces: Spaces = {}
    customs: Customs = {}
    for index, tool in enumerate(wire):
        at = f"tools[{index}]"
        kind = _object(at, tool).get("type")
        if kind == "function":
            tools.append(_function(at, tool))
        elif kind == "custom":
            name, description = _name(at, tool), tool.get("description")
            customs[name] = "flat"
            said = description if isinstance(description, str) else ""
            tools.append(custom_tools.tool(name, said, tool.get("format")))
        elif kind == "namespace" and isinstance(tool.get("tools"), list):
            space = _name(at, tool)
            for position, inner in enumerate(tool["tools"]):
                inner_at = f"{at}.tools[{position}]"
                if _object(inner_at, inner).get("type") == "function":
                    found = _function(inner_at, inner)
                    known_as = _known_as(space, found.name)
                    spaces[known_as] = space, found.name
                    tools.append(msgspec.structs.replace(found, name=known_as))
    return Offer(tools, spaces, customs)


def read_call(at: str, item: dict[str, Any]) -> ToolCall:
    """A call of an earlier turn: of a function, of a custom tool, or of the shell. Raises BadRequest."""
    call_id = str(item.get("call_id") or item.get("id") or "")
    if item["type"] == "local_shell_call":
        action = item.get("action")
        return ToolCall(call_id, "local_shell", action if isinstance(action, dict) else {})
    name = _name(at, item)
    if item["type"] == "custom_tool_call":
        return custom_tools.called(call_id, name, str(item.get("input") or ""))
    try:
        arguments = msgspec.json.decode(item.get("arguments") or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, TypeError):
        raise BadRequest(f"{at}.arguments: is not the text of a JSON object", at) from None
    space = item.get("namespace")
    return ToolCall(call_id, _known_as(space, name) if isinstance(space, str) and space else name, arguments)


def _known_as(space: str, name: str) -> str:
    return f"{space.rstrip('_')}__{name}"


def _function(at: str, tool: dict[str, Any]) -> Tool:
    name, description, parameters = _name(at, tool), tool.get("description"), tool.get("parameters")
    if not isinstance(parameters, dict | None) or not isinstance(description, str | None):
        raise BadRequest(f"{at}: parameters is a JSON schema and description a text", at)
    return Tool(name=name, description=description or "", parameters=parameters or {})


def _object(at: str, tool: object) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise BadRequest(f"{at}: give an object", at)
    return tool


def _name(at: str, item: dict[str, Any]) -> str:
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest(f"{at}.name: is required", at)
    return name
