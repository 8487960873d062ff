"""Anthropic's bodies into ChatRequest (api-contract 7)."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from compat_api import images
from compat_api.decoding import NULL, BodyDecoder
from compat_api.efforts import EFFORTS
from compat_api.refusals import ThreadNotFound, refuse_many, require_model
from compat_api.tools import with_tool_names
from inference.errors import BadRequest
from inference.sampling import bounded
from inference.types import ChatRequest, Constraint, Message, Sampling, Tool, ToolCall, ToolChoice

_SKIPPED = frozenset({"redacted_thinking", "server_tool_use", "web_search_tool_result"})
"""Blocks of the original service's own tools: what they say is in the text that follows."""


class WireTool(Struct):
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    type: str | None = None


class WireChoice(Struct):
    type: str | None = None
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct):
    type: str | None = None
    budget_tokens: int | None = None


class OutputFormat(Struct):
    type: str | None = None
    schema: Raw = NULL


class OutputConfig(Struct):
    effort: str | None = None
    format: OutputFormat | None = None


class Thread(Struct):
    type: str | None = None
    previous_message_id: str | None = None


class WireMessage(Struct):
    role: str | None = None
    content: Any = None


class CountBody(Struct):
    model: str | None = None
    messages: list[WireMessage] | None = None
    system: Any = None
    tools: list[WireTool] | None = None
    tool_choice: WireChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    """Its name before it moved into output_config."""
    thread: Thread | None = None


class MessagesBody(CountBody):
    max_tokens: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    """Not Anthropic's: there this API has none."""
    stop_sequences: list[str] | None = None


_decode = BodyDecoder(MessagesBody, "MessagesRequest", "EOF")
_decode_count = BodyDecoder(CountBody, "MessagesRequest", "EOF")


def parse_messages(body: bytes) -> ChatRequest:
    wire = _decode(body)
    require_model(wire.model)
    if wire.max_tokens is None or wire.max_tokens <= 0:
        raise BadRequest("max_tokens is required and must be positive", "max_tokens")
    sampling = Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        seed=wire.seed,
        max_tokens=wire.max_tokens,
        stop=None if wire.stop_sequences is None else tuple(text for text in wire.stop_sequences if text),
    )
    return _request(wire, bounded(sampling), stream=bool(wire.stream))


def parse_count(body: bytes) -> ChatRequest:
    """The same without what only a generation needs."""
    wire = _decode_count(body)
    require_model(wire.model)
    return _request(wire, Sampling(), stream=False)


def _request(wire: CountBody, sampling: Sampling, stream: bool) -> ChatRequest:
    if wire.thread is not None and wire.thread.type == "continue":
        raise ThreadNotFound(wire.thread.previous_message_id or "")
    if not wire.messages:
        raise BadRequest("messages is required", "messages")
    refuse_many("messages", wire.messages)
    system = _system(wire.system)
    messages = [Message(role="system", content=system)] if system else []
    for index, message in enumerate(wire.messages):
        messages += _turn(f"messages.{index}", message)
    forbidden = wire.tool_choice is not None and wire.tool_choice.type == "none"
    return ChatRequest(
        model=wire.model or "",
        messages=with_tool_names(messages),
        tools=() if forbidden else _tools(wire.tools),
        tool_choice=_choice(wire.tool_choice),
        think=_think(wire.thinking),
        effort=_effort(wire.output_config),
        constraint=_constraint(wire),
        sampling=sampling,
        stream=stream,
    )


def _choice(wire: WireChoice | None) -> ToolChoice:
    if wire is None:
        return ToolChoice()
    if wire.type not in ("auto", "any", "tool", "none"):
        raise BadRequest(
            f"tool_choice.type: {wire.type!r} is none of auto, any, tool, none", "tool_choice.type"
        )
    if wire.type == "tool" and not wire.name:
        raise BadRequest("tool_choice.name: field required", "tool_choice.name")
    names = (wire.name,) if wire.type == "tool" and wire.name else ()
    required = wire.type in ("any", "tool")
    return ToolChoice(required=required, names=names, parallel=not wire.disable_parallel_tool_use)


def _think(wire: Thinking | None) -> bool | None:
    """Off unless asked for, as with the original. Asked for, it is on where the model can, and no error elsewhere:
    Claude Code asks every model."""
    if wire is None or wire.type in (None, "disabled"):
        return False
    if wire.type not in ("enabled", "adaptive"):
        raise BadRequest(
            f"thinking.type: {wire.type!r} is none of enabled, adaptive, disabled", "thinking.type"
        )
    return None


def _effort(wire: OutputConfig | None) -> str:
    """How much to think once `thinking` is on; by itself it turns nothing on."""
    effort = wire.effort if wire is not None and wire.effort else "none"
    if effort not in EFFORTS:
        raise BadRequest(
            f"output_config.effort: {effort!r} is none of low, medium, high, xhigh, max",
            "output_config.effort",
        )
    return EFFORTS[effort]


def _constraint(wire: CountBody) -> Constraint | None:
    """The format of the answer: the JSON text of a schema."""
    config = wire.output_config
    given = config.format if config is not None and config.format is not None else wire.output_format
    if given is None:
        return None
    if given.type != "json_schema":
        raise BadRequest(
            f"output_config.format.type: {given.type!r} is not json_schema", "output_config.format.type"
        )
    schema = bytes(given.schema)
    if not schema.startswith(b"{"):
        raise BadRequest(
            "output_config.format.schema: give a JSON schema, an object", "output_config.format.schema"
        )
    return Constraint(schema.decode())


def _system(given: object) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    blocks = _blocks("system", given)
    for block in blocks:
        if block["type"] == "image":
            raise BadRequest("system: images belong to a turn of the user", "system")
    return "\n\n".join(
        _content("system", [block]).text for block in blocks if block["type"] in ("text", "document")
    )


def _tools(wire: list[WireTool] | None) -> tuple[Tool, ...]:
    """Tools that the original service runs itself, such as web_search, have no schema and are left out."""
    tools = []
    for index, tool in enumerate(wire or ()):
        if tool.type not in (None, "custom") and tool.input_schema is None:
            continue
        if not tool.name:
            raise BadRequest(f"tools.{index}.name: field required", f"tools.{index}.name")
        if tool.input_schema is None:
            raise BadRequest(f"tools.{index}.input_schema: field required", f"tools.{index}.input_schema")
        tools.append(Tool(name=tool.name, description=tool.description or "", parameters=tool.input_schema))
    return tuple(tools)


def _turn(field: str, wire: WireMessage) -> list[Message]:
    """One turn; the results of tools come before the text of the same turn."""
    if wire.role not in ("user", "assistant", "system"):
        raise BadRequest(
            f'{field}.role: {wire.role!r} is none of "user", "assistant", "system"', f"{field}.role"
        )
    if isinstance(wire.content, str):
        return [Message(role=wire.role, content=wire.content)]
    blocks = _blocks(f"{field}.content", wire.content)
    results = [
        _result(f"{field}.content.{index}", block)
        for index, block in enumerate(blocks)
        if block["type"] == "tool_result"
    ]
    calls = tuple(_call(block) for block in blocks if block["type"] == "tool_use")
    content = _content(f"{field}.content", blocks)
    thinking = "".join(str(block.get("thinking") or "") for block in blocks if block["type"] == "thinking")
    if content or calls or thinking or not results:
        said = Message(
            role=wire.role, content=content.text, images=content.images, thinking=thinking, tool_calls=calls
        )
        results.append(images.of_the_user_alone(field, said))
    return results


def _blocks(field: str, given: object) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not all(
        isinstance(block, dict) and isinstance(block.get("type"), str) for block in given
    ):
        raise BadRequest(f"{field}: give a string, or a list of blocks that have a type", field)
    return given


def _content(field: str, blocks: list[dict[str, Any]]) -> images.Parts:
    """What a turn says and shows; blocks of other kinds are read elsewhere."""
    parts = images.Parts()
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            if not isinstance(block.get("text"), str):
                raise BadRequest(f"{field}: a text block without text", field)
            parts.say(block["text"])
        elif block["type"] == "document":
            raise BadRequest("this model does not take documents", field)
        elif block["type"] == "image":
            _show(parts, f"{field}.{index}.source", block.get("source"))
    return parts


def _show(parts: images.Parts, at: str, source: object) -> None:
    kind = source.get("type") if isinstance(source, dict) else None
    if not isinstance(source, dict) or kind != "base64":
        raise BadRequest(f"invalid image source type: {kind}. Only base64 images are supported.", at)
    parts.show(f"{at}.data", base64=source.get("data") or "")


def _call(block: dict[str, Any]) -> ToolCall:
    for name in ("id", "name"):
        if not isinstance(block.get(name), str) or not block[name]:
            raise BadRequest(f"tool_use block missing required '{name}' field", "messages")
    given = block.get("input")
    return ToolCall(block["id"], block["name"], given if isinstance(given, dict) else {})


def _result(field: str, block: dict[str, Any]) -> Message:
    call_id = block.get("tool_use_id")
    if not isinstance(call_id, str) or not call_id:
        raise BadRequest("tool_result block missing required 'tool_use_id' field", "messages")
    content = block.get("content")
    if content is None or isinstance(content, str):
        return Message(role="tool", content=content or "", tool_call_id=call_id)
    parts = _content(f"{field}.content", _blocks(f"{field}.content", content))
    return Message(role="tool", content=parts.text, images=parts.images, tool_call_id=call_id)
