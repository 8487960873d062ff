"""Bodies of /v1/responses into ChatRequest (api-contract 6.5). Nothing is stored: the whole conversation is `input`."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct
from orjson import Fragment

from compat_api import images, logprobs
from compat_api.decoding import NULL, BodyDecoder, raw_text
from compat_api.efforts import EFFORTS
from compat_api.openai.custom_tools import CustomToolsRequest
from compat_api.openai.requests import StreamOptions, json_constraint
from compat_api.openai.response_tools import Spaces, read_call, read_tools
from compat_api.refusals import refuse, refuse_many, require_model
from compat_api.tools import chosen, offered, role_name, with_tool_names
from inference.errors import BadRequest
from inference.sampling import bounded
from inference.types import Constraint, Message, Sampling, ToolCall

_NOT_STORED = "answers are not stored here; send the whole conversation as input"
_LOGPROBS = "message.output_text.logprobs"
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
_SKIPPED = frozenset(
    {
        *("web_search_call", "file_search_call", "computer_call", "image_generation_call"),
        *("tool_search_call", "tool_search_output", "compaction", "ghost_snapshot"),
    }
)
"""Items of tools that the original service runs itself, and notes of clients to themselves."""


class Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None


class TextFormat(Struct):
    type: str | None = None
    name: str | None = None
    schema: Raw = NULL
    strict: bool | None = None
    description: str | None = None


class TextOptions(Struct):
    format: TextFormat | None = None


class ResponsesBody(Struct):
    model: str | None = None
    input: Any = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    """Not OpenAI's: there this API has none."""
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    include: list[Any] | None = None
    top_logprobs: int | None = None


class ResponsesRequest(CustomToolsRequest, frozen=True, kw_only=True):
    """A generation, and what its answer repeats of the request."""

    echo: dict[str, Any] = {}
    spaces: Spaces = {}


_decode = BodyDecoder(ResponsesBody, "ResponsesRequest", "EOF")


def parse_responses(body: bytes) -> ResponsesRequest:
    wire = _decode(body)
    refuse("previous_response_id", wire.previous_response_id, _NOT_STORED)
    refuse("conversation", wire.conversation, _NOT_STORED)
    refuse("background", wire.background, _NOT_STORED)
    messages = _instructed(wire.instructions or "", _messages(wire.input))
    choice = chosen(wire.tool_choice, wire.parallel_tool_calls)
    tools, spaces, customs = read_tools(wire.tools or [])
    return ResponsesRequest(
        model=require_model(wire.model),
        messages=with_tool_names(messages),
        tools=() if wire.tool_choice == "none" else offered(tuple(tools), choice),
        tool_choice=choice,
        think=_think(wire.reasoning),
        effort=EFFORTS[(wire.reasoning and wire.reasoning.effort) or "none"],
        sampling=bounded(_sampling(wire)),
        constraint=_constraint(wire.text.format if wire.text else None),
        logprobs=logprobs.wanted(_LOGPROBS in (wire.include or ()), wire.top_logprobs),
        stream=bool(wire.stream),
        include_usage=bool(wire.stream_options and wire.stream_options.include_usage),
        echo=_echo(wire),
        spaces=spaces,
        customs=customs,
    )


def _sampling(wire: ResponsesBody) -> Sampling:
    return Sampling(
        temperature=1.0 if wire.temperature is None else wire.temperature,
        top_p=1.0 if wire.top_p is None else wire.top_p,
        seed=wire.seed,
        max_tokens=wire.max_output_tokens,
    )


def _think(wire: Reasoning | None) -> bool | None:
    """An effort means thinking where the model can, and is no error elsewhere: Codex names one for every model."""
    if wire is None or not wire.effort:
        return None
    if wire.effort not in EFFORTS:
        raise BadRequest(
            f"reasoning.effort: {wire.effort!r} is none of {', '.join(EFFORTS)}", "reasoning.effort"
        )
    return False if wire.effort == "none" else None


def _constraint(wire: TextFormat | None) -> Constraint | None:
    return json_constraint(wire.type, wire.schema, "text.format", "text.format.schema") if wire else None


def _echo(wire: ResponsesBody) -> dict[str, Any]:
    """Raises BadRequest for what JSON can say and no answer can: integers beyond 64 bits, nesting beyond 254."""
    form: dict[str, Any] = {"type": "text"}
    if wire.text and wire.text.format and wire.text.format.type not in (None, ""):
        given = wire.text.format
        form = {name: getattr(given, name) for name in ("type", "name", "description", "strict")}
        form["schema"] = _schema(given.schema)
        form = {name: value for name, value in form.items() if value is not None}
    reasoning = wire.reasoning or Reasoning()
    echo = {
        "instructions": wire.instructions,
        "tools": wire.tools or [],
        "tool_choice": wire.tool_choice if wire.tool_choice is not None else "auto",
        "parallel_tool_calls": wire.parallel_tool_calls is not False,
        "text": {"format": form},
        "temperature": 1.0 if wire.temperature is None else wire.temperature,
        "top_p": 1.0 if wire.top_p is None else wire.top_p,
        "reasoning": {"effort": reasoning.effort, "summary": reasoning.summary},
        "max_output_tokens": wire.max_output_tokens,
        "metadata": wire.metadata or {},
    }
    return {name: _written(name, value) for name, value in echo.items()}


def _schema(raw: Raw) -> Any:
    try:
        return msgspec.json.decode(raw_text(raw))
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest("text.format.schema: is not JSON", "text.format.schema") from None


def _written(field: str, value: object) -> Fragment:
    try:
        return Fragment(orjson.dumps(value))
    except orjson.JSONEncodeError:
        raise BadRequest(
            f"{field}: has an integer beyond 64 bits, or is nested too deeply to be repeated in the answer",
            field,
        ) from None


def _instructed(instructions: str, turns: list[Message]) -> list[Message]:
    """Instructions and what the developer says before others do are one text: templates take one, and as the first."""
    heads = list(takewhile(lambda turn: turn.role == "system", turns))
    said = "\n\n".join(text for text in (instructions, *(head.content for head in heads)) if text)
    return [*([Message(role="system", content=said)] if said else []), *turns[len(heads) :]]


def _messages(given: object) -> list[Message]:
    if isinstance(given, str) and given:
        return [Message(role="user", content=given)]
    if not isinstance(given, list) or not given:
        raise BadRequest("input: give a text, or a list of items", "input")
    refuse_many("input", given)
    turns: list[Message] = []
    for index, item in enumerate(given):
        at = f"input[{index}]"
        if not isinstance(item, dict):
            raise BadRequest(f"{at}: give an object", at)
        _add(turns, at, item)
    return turns


def _add(turns: list[Message], at: str, item: dict[str, Any]) -> None:
    """What one turn of the assistant said, thought and called comes as items in a row, and is one message."""
    match item.get("type"):
        case None | "message" if "role" in item:
            role = role_name(item["role"] if isinstance(item["role"], str) else "")
            content = _content(f"{at}.content", item.get("content"))
            message = Message(role=role, content=content.text, images=content.images)
            images.of_the_user_alone(f"{at}.content", message)
            if role == "assistant":
                _say(turns, content=message.content)
            else:
                turns.append(message)
        case str() as kind if kind in _CALLS:
            _say(turns, call=read_call(at, item))
        case str() as kind if kind in _RESULTS:
            output = _content(f"{at}.output", item.get("output"))
            call_id = str(item.get("call_id") or "")
            turns.append(
                Message(role="tool", content=output.text, images=output.images, tool_call_id=call_id)
            )
        case "reasoning":
            _say(turns, thinking=_thoughts(item))
        case "item_reference":
            raise BadRequest(f"{at}: {_NOT_STORED}", at)
        case kind if not isinstance(kind, str) or kind not in _SKIPPED:
            shown = msgspec.json.encode(kind if isinstance(kind, str) else "").decode()
            raise BadRequest(f"{at}: unknown input item type: {shown}", at)


def _say(turns: list[Message], content: str = "", thinking: str = "", call: ToolCall | None = None) -> None:
    last = turns.pop() if turns and turns[-1].role == "assistant" else Message(role="assistant")
    turns.append(
        msgspec.structs.replace(
            last,
            content="\n".join(filter(None, (last.content, content))),
            thinking="\n".join(filter(None, (last.thinking, thinking))),
            tool_calls=(*last.tool_calls, call) if call else last.tool_calls,
        )
    )


def _thoughts(item: dict[str, Any]) -> str:
    parts = [*_list(item.get("summary")), *_list(item.get("content"))]
    return "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


def _content(at: str, content: object) -> images.Parts:
    parts = images.Parts()
    if content is None or isinstance(content, str):
        parts.say(content or "")
        return parts
    for index, part in enumerate(_list(content, at)):
        _add_part(parts, f"{at}[{index}]", part)
    return parts


def _add_part(parts: images.Parts, at: str, part: object) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("text", part.get("refusal")) if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text", "summary_text", "refusal") and isinstance(text, str):
        parts.say(text)
    elif isinstance(part, dict) and kind == "input_image":
        _show(parts, at, part)
    elif kind in ("input_file", "input_audio"):
        raise BadRequest(f"{at}: this model does not take {str(kind).removeprefix('input_')}s", at)
    else:
        raise BadRequest(f"{at}: not a part with text", at)


def _show(parts: images.Parts, at: str, part: dict[str, Any]) -> None:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise BadRequest(f"{at}.image_url: give a data URI; files are not stored here", at)
    parts.show(f"{at}.image_url", uri=url)


def _list(given: object, at: str = "") -> list[Any]:
    if isinstance(given, list):
        return given
    if at:
        raise BadRequest(f"{at}: give a text, or a list of parts", at)
    return []
