"""An answer as a client reads it: frames into events, a name for each event, and what was said in all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Said:
    """What the answer amounts to, whatever its API and whether it was streamed."""

    text: str = ""
    thinking: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Each with id, name, arguments (decoded), and `namespace` where there is one."""
    reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    """Lower-case names."""
    body: bytes
    events: list[str] = field(default_factory=list)
    """Their names in order; empty for an answer in one piece."""
    parts: list[Any] = field(default_factory=list)
    """The JSON of each event that has some."""
    json: Any = None
    """Of an answer in one piece."""
    said: Said = field(default_factory=Said)


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    """Fails on whatever a strict client would fail on: half frames, blank lines, an event that is not what it is
    called."""
    answer = Answer(status, headers, body)
    kind = headers.get("content-type", "").partition(";")[0]
    if kind == "text/event-stream":
        _read_sse(answer)
    elif kind == "application/x-ndjson":
        assert body.endswith(b"\n"), "the last line has no end"
        for line in body[:-1].split(b"\n"):
            assert line, "a blank line"
            _add(answer, "", json.loads(line))
    elif kind == "application/json" and body:
        answer.json = json.loads(body)
        if isinstance(answer.json, dict):
            _collect(answer.said, answer.json)
    return answer


def _read_sse(answer: Answer) -> None:
    assert answer.body.endswith(b"\n\n"), "the last event has no end"
    for block in answer.body[:-2].split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
        assert set(fields) <= {b"event", b"data"}, block
        if fields[b"data"] == b"[DONE]":
            answer.events.append("DONE")
            continue
        name = fields.get(b"event", b"").decode()
        part = json.loads(fields[b"data"])
        assert not name or part["type"] == name, f"an event {name} that says it is {part['type']}"
        _add(answer, name, part)


def _add(answer: Answer, name: str, part: dict[str, Any]) -> None:
    answer.events.append(name or _name(part))
    answer.parts.append(part)
    _collect(answer.said, part)


def _name(part: dict[str, Any]) -> str:
    """Of a chunk that has no name on the wire: what it brings."""
    if "error" in part:
        return "error"
    if "status" in part:
        return "success" if part["status"] == "success" else "status"
    if part.get("object") in ("chat.completion.chunk", "text_completion"):
        return _chunk_name(part)
    if part.get("done"):
        return "done"
    message = part.get("message", part)
    return next((name for name in ("tool_calls", "thinking") if message.get(name)), "text")


def _chunk_name(part: dict[str, Any]) -> str:
    if not part["choices"]:
        return "usage"
    choice = part["choices"][0]
    if choice["finish_reason"]:
        return "finish"
    delta = choice.get("delta", {})
    if "role" in delta:
        return "role"
    return next((name for name in ("tool_calls", "reasoning") if delta.get(name)), "text")


def _collect(said: Said, part: dict[str, Any]) -> None:
    """Adds one event, or a whole answer: the shapes of the APIs have no name in common with another meaning."""
    if part.get("choices") is not None:
        _collect_openai(said, part)
    elif isinstance(part.get("message"), dict) and "done" in part:
        _collect_ollama(said, part["message"], part)
    elif "response" in part and "done" in part:
        _collect_ollama(said, {"content": part["response"], "thinking": part.get("thinking")}, part)
    elif part.get("object") == "response":
        _collect_response(said, part)
    elif part.get("type") in ("response.completed", "response.incomplete"):
        _collect_response(said, part["response"])
    elif part.get("type") == "message":
        for block in part["content"]:
            _block(said, block)
        said.reason, said.usage = part["stop_reason"], part["usage"]
    else:
        _collect_anthropic(said, part)


def _collect_openai(said: Said, part: dict[str, Any]) -> None:
    said.usage = part.get("usage") or said.usage
    for choice in part["choices"][:1]:
        message = choice.get("delta", choice.get("message", {"content": choice.get("text")}))
        said.text += message.get("content") or ""
        said.thinking += message.get("reasoning") or ""
        said.reason = choice["finish_reason"] or said.reason
        for call in message.get("tool_calls", ()):
            function = call["function"]
            assert call["type"] == "function"
            _call(said, call["id"], function["name"], json.loads(function["arguments"]))


def _collect_ollama(said: Said, message: dict[str, Any], part: dict[str, Any]) -> None:
    said.text += message["content"] or ""
    said.thinking += message.get("thinking") or ""
    for call in message.get("tool_calls", ()):
        _call(said, call["id"], call["function"]["name"], call["function"]["arguments"])
    if part["done"]:
        said.reason = part["done_reason"]
        said.usage = {name: part[name] for name in part if name.endswith(("_count", "_duration"))}


def _collect_response(said: Said, response: dict[str, Any]) -> None:
    """The whole of it is repeated in the last event of a stream."""
    said.reason, said.usage = response["status"], response["usage"]
    for item in response["output"]:
        if item["type"] == "reasoning":
            said.thinking += "".join(part["text"] for part in item["summary"])
        elif item["type"] == "function_call":
            _call(said, item["call_id"], item["name"], json.loads(item["arguments"]))
            if "namespace" in item:
                said.calls[-1]["namespace"] = item["namespace"]
        else:
            said.text += "".join(part["text"] for part in item["content"])


def _collect_anthropic(said: Said, part: dict[str, Any]) -> None:
    """One event of a stream of /v1/messages."""
    match part.get("type"):
        case "message_start":
            said.usage = part["message"]["usage"]
        case "content_block_start":
            assert part["content_block"].get("input", {}) == {}, "a block starts with its arguments"
            _block(said, part["content_block"])
        case "content_block_delta":
            delta = part["delta"]
            said.text += delta.get("text", "")
            said.thinking += delta.get("thinking", "")
            if "partial_json" in delta:
                said.calls[-1]["arguments"] = json.loads(delta["partial_json"])
        case "message_delta":
            said.reason = part["delta"]["stop_reason"]
            said.usage = said.usage | part["usage"]


def _block(said: Said, block: dict[str, Any]) -> None:
    if block["type"] == "tool_use":
        _call(said, block["id"], block["name"], block["input"])
    else:
        said.text += block.get("text", "")
        said.thinking += block.get("thinking", "")


def _call(said: Said, call_id: str, name: str, arguments: object) -> None:
    assert isinstance(arguments, dict), f"the arguments of {name} are no object"
    said.calls.append({"id": call_id, "name": name, "arguments": arguments})
