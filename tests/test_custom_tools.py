"""Custom tools, whose argument is a text: offered as functions of one text, called in the words of each API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compat_api.openai.requests import parse_chat
from compat_api.openai.response_events import ResponseEncoder
from compat_api.openai.response_requests import parse_responses
from compat_api.openai.responses import ChatEncoder
from inference.errors import BadRequest
from inference.events import Finish
from inference.types import ToolCall

FINISH = Finish(
    reason="stop", prompt_tokens=1, completion_tokens=1, total_s=0, load_s=0, prefill_s=0, decode_s=0
)
WORDS = {
    "name": "ApplyPatch",
    "description": "Changes files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'},
}
FLAT = {"type": "custom", **WORDS}
NESTED = {"type": "custom", "custom": WORDS}
PATCH = "*** Begin Patch\n*** End Patch"
CALL = ToolCall("call_a", "ApplyPatch", {"input": PATCH})


def chat(**fields: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields
    return parse_chat(json.dumps(body).encode())


def responses(**fields: Any) -> Any:
    return parse_responses(json.dumps({"model": "m", "input": "hi"} | fields).encode())


@pytest.mark.parametrize("request_of", [chat, responses])
def test_a_model_is_shown_a_function_of_one_text_with_its_grammar(request_of: Any) -> None:
    (tool,) = request_of(tools=[FLAT]).tools
    assert (tool.name, tool.parameters["required"]) == ("ApplyPatch", ["input"])
    assert tool.description == 'Changes files.\n\nGrammar of input (lark):\nstart: "x"'


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (FLAT, {"type": "function", "function": {"name": "ApplyPatch", "arguments": PATCH}}),
        (NESTED, {"type": "custom", "custom": {"name": "ApplyPatch", "input": PATCH}}),
    ],
    ids=["flat", "nested"],
)
def test_a_call_in_a_chat_has_the_bare_text_and_comes_back_as_it_was_sent(tool: Any, expected: Any) -> None:
    request = chat(tools=[tool])
    (said,) = json.loads(ChatEncoder(request).whole([CALL, FINISH]))["choices"][0]["message"]["tool_calls"]
    assert said == {"id": "call_a", "index": 0, **expected}
    turns = [{"role": "assistant", "content": None, "tool_calls": [said]}]
    assert chat(tools=[tool], messages=turns).messages[0].tool_calls == (CALL,)


def test_a_call_among_items_is_one_of_its_own() -> None:
    encoder = ResponseEncoder(responses(tools=[FLAT, {"type": "function", "name": "f"}]))
    stream = b"".join(encoder.event(event) for event in (CALL, ToolCall("call_b", "f", {}), FINISH)).decode()
    parts = [json.loads(block.partition("data: ")[2]) for block in stream.split("\n\n")[:-1]]
    added, delta, done, ended = parts[:4]
    assert added["item"]["type"] == "custom_tool_call"
    assert added["item"]["input"] == ""
    assert (delta["type"], delta["delta"]) == ("response.custom_tool_call_input.delta", PATCH)
    assert (done["type"], done["input"]) == ("response.custom_tool_call_input.done", PATCH)
    item = ended["item"]
    assert (item["call_id"], item["name"], item["input"]) == ("call_a", "ApplyPatch", PATCH)
    kinds = [entry["type"] for entry in parts[-1]["response"]["output"]]
    assert kinds == ["custom_tool_call", "function_call"]


def test_a_custom_tool_may_be_required_by_name() -> None:
    for given in (
        {"type": "custom", "custom": {"name": "ApplyPatch"}},
        {"type": "custom", "name": "ApplyPatch"},
    ):
        choice = chat(tools=[FLAT], tool_choice=given).tool_choice
        assert (choice.required, choice.names) == (True, ("ApplyPatch",))


def test_a_custom_tool_without_a_name_is_refused() -> None:
    with pytest.raises(BadRequest, match=r'"tools\[0\].custom.name" is required'):
        chat(tools=[{"type": "custom"}])
    with pytest.raises(BadRequest, match=r"tools\[0\].name: is required"):
        responses(tools=[{"type": "custom"}])
