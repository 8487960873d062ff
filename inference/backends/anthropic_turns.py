"""Turns and tools as the Messages API wants them: users and assistants by turns, a user first, results at once.

system, developer      one text in front of everything, wherever they stood
tool                   a block of the user's next turn, before what that says
neighbours of one role one turn
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from msgspec import structs

from inference.backends.wire_turns import base64_of, media_type, pieces, with_ids
from inference.types import ChatRequest, Image, Message, Tool

ROLES: Final = frozenset({"system", "user", "assistant", "tool"})
_BEGINNING: Final = {"type": "text", "text": "."}
"""What a user says where nobody did: the first turn must be a user's, and say something."""
_ODD_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_OPEN_SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {}}

Block = dict[str, Any]


def system_of(messages: Iterable[Message]) -> str:
    return "\n\n".join(turn.content for turn in messages if turn.role == "system" and turn.content.strip())


def turns_of(messages: Iterable[Message]) -> list[dict[str, Any]]:
    turns: list[tuple[str, list[Block]]] = []
    for message in with_ids(messages):
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [_result(message)] if message.role == "tool" else _blocks(message)
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns or turns[0][0] != "user":
        turns.insert(0, ("user", [_BEGINNING]))
    _without_end(turns)
    return [{"role": role, "content": _results_first(blocks)} for role, blocks in turns]


def _blocks(message: Message) -> list[Block]:
    """Empty texts are refused over there, so there are none."""
    blocks = [_block(piece) for piece in pieces(message) if isinstance(piece, Image) or piece.strip()]
    return blocks + [
        {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": call.arguments}
        for call in message.tool_calls
    ]


def _block(piece: str | Image) -> Block:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    source = {"type": "base64", "media_type": media_type(piece.data), "data": base64_of(piece)}
    return {"type": "image", "source": source}


def _result(message: Message) -> Block:
    content: str | list[Block] = message.content
    if message.images:
        content = _blocks(structs.replace(message, tool_calls=()))
    return {"type": "tool_result", "tool_use_id": _id(message.tool_call_id), "content": content}


def _id(given: str) -> str:
    """Letters, digits, _ and - alone are taken; other servers write dots and colons too."""
    return _ODD_ID.sub("_", given)


def _results_first(blocks: list[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _without_end(turns: list[tuple[str, list[Block]]]) -> None:
    """An answer that was begun may not end with white space."""
    role, blocks = turns[-1]
    if role == "assistant" and blocks[-1]["type"] == "text":
        blocks[-1] = blocks[-1] | {"text": blocks[-1]["text"].rstrip()}


def tools_of(request: ChatRequest) -> dict[str, Any]:
    """Calls in the history need tools even where none may be called now."""
    choice = request.tool_choice
    if not request.tools:
        names = dict.fromkeys(call.name for turn in request.messages for call in turn.tool_calls)
        tools = [{"name": name, "input_schema": _OPEN_SCHEMA} for name in names]
        return {"tools": tools, "tool_choice": {"type": "none"}} if tools else {}
    fields: dict[str, Any] = {}
    offered = request.tools
    if choice.required and len(choice.names) == 1:
        fields = {"type": "tool", "name": choice.names[0]}
    elif choice.names:
        offered = tuple(tool for tool in request.tools if tool.name in choice.names) or request.tools
    if choice.required:
        fields = fields or {"type": "any"}
    if not choice.parallel:
        fields = (fields or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return {"tools": [_tool(tool) for tool in offered]} | ({"tool_choice": fields} if fields else {})


def _tool(tool: Tool) -> dict[str, Any]:
    schema = _OPEN_SCHEMA | tool.parameters | {"type": "object"}
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "input_schema": schema}
