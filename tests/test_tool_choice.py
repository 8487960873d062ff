"""tool_choice by the official clients of three dialects: a required call is made, whatever the question."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import openai
import pytest
from conftest import RunningServer
from wire_clients import claude, v1

OFF_TOPIC = "Tell me a story about a cat."
SCHEMAS: dict[str, dict[str, Any]] = {
    "get_weather": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
    },
    "set_alarm": {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/hour"}},
        "required": ["at"],
        "$defs": {"hour": {"type": "integer", "minimum": 0, "maximum": 23}},
    },
}
CHAT_TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in SCHEMAS.items()
]
FLAT_TOOLS: Any = [
    {"type": "function", "name": name, "parameters": schema} for name, schema in SCHEMAS.items()
]
CLAUDE_TOOLS: Any = [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()]
QUESTION: Any = [{"role": "user", "content": OFF_TOPIC}]
ALARM_CHAT: Any = {"type": "function", "function": {"name": "set_alarm"}}
ALARM_FLAT: Any = {"type": "function", "name": "set_alarm"}


def check(name: str, arguments: dict[str, Any], only: str = "") -> None:
    assert name == only or (not only and name in SCHEMAS), name
    if name == "set_alarm":
        assert set(arguments) == {"at"}
        assert arguments["at"] in range(24)
    else:
        assert isinstance(arguments["city"], str)
        assert arguments["unit"] in ("C", "F")


def chat(server: RunningServer, **more: Any) -> Any:
    fields: Any = {
        "temperature": 0,
        "reasoning_effort": "none",
        "max_tokens": 300,
        "parallel_tool_calls": False,
        "tools": CHAT_TOOLS,
    }
    return v1(server.url).chat.completions.create(model="demo", messages=QUESTION, **(fields | more))


@pytest.mark.parametrize(("choice", "only"), [("required", ""), (ALARM_CHAT, "set_alarm")])
@pytest.mark.parametrize("effort", ["none", "low"])
def test_chat_completions_call_what_is_required(
    server: RunningServer, choice: Any, only: str, effort: str
) -> None:
    said = chat(server, tool_choice=choice, reasoning_effort=effort).choices[0]
    (call,) = said.message.tool_calls
    check(call.function.name, json.loads(call.function.arguments), only)
    assert (said.finish_reason, said.message.content or "") == ("tool_calls", "")


def test_a_tag_in_a_string_of_a_required_call_is_a_part_of_it(server: RunningServer) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"const": "</tool_call>"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    said = chat(server, tools=tools, tool_choice="required").choices[0]
    (call,) = said.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("f", {"a": "</tool_call>"})
    assert (said.finish_reason, said.message.content or "") == ("tool_calls", "")


def test_chat_completions_stream_what_is_required(server: RunningServer) -> None:
    deltas = [chunk.choices[0].delta for chunk in chat(server, tool_choice=ALARM_CHAT, stream=True)]
    (call,) = [call for delta in deltas for call in delta.tool_calls or ()]
    check(call.function.name, json.loads(call.function.arguments), "set_alarm")
    assert not any(delta.content for delta in deltas)


def test_several_calls_may_come_unless_one_is_asked_for(server: RunningServer) -> None:
    said = chat(server, tool_choice="required", parallel_tool_calls=True, temperature=1.0, seed=3)
    assert said.choices[0].message.tool_calls
    for call in said.choices[0].message.tool_calls:
        check(call.function.name, json.loads(call.function.arguments))


def test_a_choice_may_be_narrowed_to_some_tools(server: RunningServer) -> None:
    allowed = {"mode": "required", "tools": [ALARM_CHAT]}
    said = chat(server, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    check(said.choices[0].message.tool_calls[0].function.name, {"at": 1}, "set_alarm")


@pytest.mark.parametrize(("choice", "only"), [("required", ""), (ALARM_FLAT, "set_alarm")])
def test_responses_call_what_is_required(server: RunningServer, choice: Any, only: str) -> None:
    answer = v1(server.url).responses.create(
        model="demo", input=OFF_TOPIC, tools=FLAT_TOOLS, tool_choice=choice, parallel_tool_calls=False,
        temperature=0, max_output_tokens=300,
    )  # fmt: skip
    (call,) = [item for item in answer.output if item.type == "function_call"]
    check(call.name, json.loads(call.arguments), only)


@pytest.mark.parametrize(
    ("choice", "only"), [({"type": "any"}, ""), ({"type": "tool", "name": "set_alarm"}, "set_alarm")]
)
@pytest.mark.parametrize("thinking", [False, True])
def test_messages_call_what_is_required(
    server: RunningServer, choice: Any, only: str, thinking: bool
) -> None:
    more: Any = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if thinking else {}
    message = claude(server.url).messages.create(
        model="demo", max_tokens=300, messages=QUESTION, tools=CLAUDE_TOOLS,
        tool_choice=choice | {"disable_parallel_tool_use": True}, extra_body={"temperature": 0}, **more,
    )  # fmt: skip
    (call,) = [block for block in message.content if block.type == "tool_use"]
    check(call.name, dict(call.input), only)
    assert message.stop_reason == "tool_use"


def test_none_makes_no_call(server: RunningServer) -> None:
    assert not chat(server, tool_choice="none").choices[0].message.tool_calls


def forced(schema: dict[str, Any]) -> dict[str, Any]:
    function = {"name": "f", "parameters": schema}
    return {"tool_choice": "required", "tools": [{"type": "function", "function": function}]}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"tool_choice": "always"}, "tool_choice: give"),
        ({"tool_choice": {"type": "function", "function": {"name": "fly"}}}, "no tool 'fly' is in tools"),
        ({"tool_choice": {"type": "function"}}, "the function has no name"),
        ({"tool_choice": "required", "tools": []}, "no tools are given"),
        (forced({"patternProperties": {"a": {}}}), "invalid JSON schema in tools"),
        (forced({"properties": {"a": {"pattern": "("}}}), "tool 'f': $.properties.a.pattern"),
        (forced({"type": "string"}), "arguments are an object"),
    ],
)
def test_a_choice_that_cannot_be_kept_is_a_400(
    server: RunningServer, fields: dict[str, Any], fault: str
) -> None:
    body = {"model": "demo", "messages": QUESTION, "tools": CHAT_TOOLS} | fields
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert fault in answer.json()["error"]["message"]


def test_the_other_dialects_refuse_in_their_own_words(server: RunningServer) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"tool_choice\.type"):
        claude(server.url).messages.create(
            model="demo", max_tokens=9, messages=QUESTION, tools=CLAUDE_TOOLS,
            extra_body={"tool_choice": {"type": "must"}},
        )  # fmt: skip
    with pytest.raises(openai.BadRequestError, match="no tool 'fly' is in tools"):
        v1(server.url).responses.create(
            model="demo", input=OFF_TOPIC, tools=FLAT_TOOLS,
            tool_choice={"type": "function", "name": "fly"},
        )  # fmt: skip
