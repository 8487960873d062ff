"""Tools of /v1/responses in namespaces, and calls of other kinds in earlier turns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compat_api.openai.response_events import ResponseEncoder
from compat_api.openai.response_requests import ResponsesRequest, parse_responses
from inference.errors import BadRequest
from inference.events import Finish
from inference.types import ToolCall

FINISH = Finish(
    reason="stop", prompt_tokens=1, completion_tokens=1, total_s=0, load_s=0, prefill_s=0, decode_s=0
)
INNER = {"type": "function", "name": "js", "parameters": {"type": "object"}}


def parse(**fields: Any) -> ResponsesRequest:
    return parse_responses(json.dumps({"model": "m", "input": "hi"} | fields).encode())


@pytest.mark.parametrize("space", ["mcp__node", "mcp__node__"])
def test_a_tool_of_a_namespace_has_one_name_for_the_model_and_both_for_the_client(space: str) -> None:
    request = parse(tools=[{"type": "namespace", "name": space, "tools": [INNER, {"type": "x"}]}, INNER])
    assert [tool.name for tool in request.tools] == ["mcp__node__js", "js"]
    encoder = ResponseEncoder(request)
    calls = [ToolCall("call_a", "mcp__node__js", {}), ToolCall("call_b", "js", {})]
    inside, outside = json.loads(encoder.whole([*calls, FINISH]))["output"]
    assert (inside["namespace"], inside["name"]) == (space, "js")
    assert outside["name"] == "js"
    assert "namespace" not in outside


def test_a_call_in_a_namespace_comes_back_under_the_name_that_the_model_knows() -> None:
    item = {
        "type": "function_call",
        "call_id": "c",
        "namespace": "mcp__node",
        "name": "js",
        "arguments": "{}",
    }
    (message,) = parse(input=[item]).messages
    assert message.tool_calls == (ToolCall("c", "mcp__node__js", {}),)


def test_calls_of_custom_tools_and_of_the_shell_are_calls() -> None:
    said = parse(
        input=[
            {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"},
            {"type": "local_shell_call", "call_id": "c2", "action": {"type": "exec", "command": ["ls"]}},
            {
                "type": "function_call_output",
                "call_id": "c2",
                "output": [{"type": "input_text", "text": "a"}],
            },
            {"type": "ghost_snapshot", "ghost_commit": {}},
            {"type": "tool_search_call", "call_id": "c3"},
        ]
    ).messages
    assert [message.role for message in said] == ["assistant", "tool", "assistant", "tool"]
    assert said[0].tool_calls == (ToolCall("c1", "apply_patch", {"input": "*** Begin"}),)
    assert (said[1].content, said[1].tool_name) == ("Done", "apply_patch")
    assert said[2].tool_calls[0].arguments["command"] == ["ls"]
    assert (said[3].content, said[3].tool_name) == ("a", "local_shell")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tools": [{"type": "namespace", "tools": [INNER]}]}, "tools[0].name: is required"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [4]}]}, "tools[0].tools[0]: give an object"),
        ({"tools": [{"type": "function"}]}, "tools[0].name: is required"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c"}]}, "input[0].name: is required"),
        ({"input": [{"type": ["function_call"]}]}, 'input[0]: unknown input item type: ""'),
    ],
)
def test_a_fault_is_named(fields: Any, words: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse(**fields)
    assert str(refusal.value) == words
