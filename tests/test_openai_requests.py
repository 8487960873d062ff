"""OpenAI's bodies become requests, with OpenAI's defaults and OpenAI's names."""

from __future__ import annotations

import json
from typing import Any

import openvino_genai
import pytest

from compat_api.openai.requests import ItemsInstead, parse_chat, parse_embeddings
from inference.errors import BadRequest, ModelNotFound
from inference.types import Constraint, Message, Sampling, Tool, ToolCall

HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> Any:
    return parse_chat(json.dumps({"model": "m", "messages": HELLO} | fields).encode())


def test_a_bare_chat_does_not_stream_and_samples_at_one() -> None:
    request = chat()
    assert request.stream is False
    assert request.include_usage is False
    assert request.sampling == Sampling(temperature=1.0, top_p=1.0)
    assert request.messages == (Message(role="user", content="hello"),)


def test_null_is_the_same_as_absent() -> None:
    names = (
        "stream stream_options max_tokens max_completion_tokens temperature top_p seed stop n tools "
        "reasoning logprobs "
        "frequency_penalty presence_penalty response_format tool_choice reasoning_effort top_logprobs"
    )
    assert chat(**dict.fromkeys(names.split())) == chat()


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0.0, "top_p": 0.5}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"stop": "x"}, {"stop": ("x",)}),
        ({"stop": ["x", "y"]}, {"stop": ("x", "y")}),
        ({"seed": 3, "presence_penalty": 1, "frequency_penalty": -2}, None),
        ({"logit_bias": {}, "temperature": 1}, {"temperature": 1.0}),
    ],
)
def test_sampling_is_read(fields: Any, changed: Any) -> None:
    changed = changed or {"seed": 3, "presence_penalty": 1.0, "frequency_penalty": -2.0}
    assert chat(**fields).sampling == Sampling(**({"temperature": 1.0, "top_p": 1.0} | changed))


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", True), ("low", True), ("high", True), ("xhigh", True), ("", None)],
)
def test_reasoning_effort_switches_thinking(effort: Any, think: Any) -> None:
    assert chat(reasoning_effort=effort).think is think
    assert chat(reasoning={"effort": effort}).think is think


def test_an_unknown_reasoning_effort_is_refused() -> None:
    with pytest.raises(BadRequest, match=r'^invalid reasoning value: "much"'):
        chat(reasoning_effort="much")


def test_developer_is_system_and_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    request = chat(messages=[{"role": "developer", "content": "brief"}, {"role": "user", "content": parts}])
    assert request.messages == (
        Message(role="system", content="brief"),
        Message(role="user", content="one\ntwo"),
    )


def test_a_refusal_of_the_assistant_is_text() -> None:
    no = [{"type": "refusal", "refusal": "no"}]
    request = chat(messages=[{"role": "user", "content": "Will you?"}, {"role": "assistant", "content": no}])
    assert request.messages[1] == Message(role="assistant", content="no")


def test_tool_calls_and_their_results_are_read() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ]
    tools = [{"type": "function", "function": {"name": "add", "strict": True}}]
    request = chat(messages=messages, tools=tools)
    assert request.messages == (
        Message(role="assistant", thinking="hm", tool_calls=(ToolCall("call_1", "add", {"a": 1}),)),
        Message(role="tool", content="2", tool_name="add", tool_call_id="call_1"),
    )
    assert request.tools == (Tool(name="add"),)
    assert chat(messages=messages, tools=tools, tool_choice="none").tools == ()


@pytest.mark.parametrize(
    ("response_format", "constraint"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Constraint()),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, "{"),
    ],
)
def test_response_format_becomes_a_constraint(response_format: Any, constraint: Any) -> None:
    expected = Constraint('{"type": "object"}') if constraint == "{" else constraint
    assert chat(response_format=response_format).constraint == expected


def content(*parts: Any) -> Any:
    return {"messages": [{"role": "user", "content": list(parts)}]}


REMOTE = {"type": "image_url", "image_url": "https://example.com/cat.png"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "[] is too short - 'messages'"),
        ({"messages": None}, "[] is too short - 'messages'"),
        ({"model": ""}, "model is required"),
        ({"messages": [{"role": "user", "content": None}]}, "invalid message content type: <nil>"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid message content type: float64"),
        (content("text"), "invalid message format"),
        (content({"type": "video"}), "invalid message format"),
        (content(REMOTE), "image URLs are not currently supported, please use base64 encoded data instead"),
        (
            content({"type": "input_audio", "input_audio": {}}),
            '"input_audio": this model does not take audio',
        ),
        ({"n": 0}, '"n": 0 answers to 1 prompts; from 1 to 32 in all are given'),
        ({"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"frequency_penalty": 2.5}, '"frequency_penalty": 2.5 is not between -2 and 2'),
        (
            {"response_format": {"type": "grammar"}},
            '"response_format.type" must be "text", "json_object" or "json_schema"',
        ),
        (
            {"response_format": {"type": "json_schema"}},
            '"response_format.json_schema.schema" must be a JSON schema object',
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}
                ]
            },
            "invalid tool call arguments",
        ),
        ({"tools": [{"type": "function"}]}, '"tools[0].function.name" is required'),
        (
            {"stream": "yes"},
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.stream of type bool",
        ),
    ],
)
def test_a_fault_is_named(fields: Any, words: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat(**fields)
    assert str(refusal.value) == words


def test_tools_may_be_flat_as_in_responses() -> None:
    flat = {"type": "function", "name": "f", "description": "does", "parameters": {"type": "object"}}
    nested = {"type": "function", "function": {"name": "g"}}
    tools = chat(tools=[flat, nested]).tools
    assert [(tool.name, tool.description) for tool in tools] == [("f", "does"), ("g", "")]
    assert tools[0].parameters == {"type": "object"}


def test_a_conversation_as_items_is_told_from_one_that_is_missing() -> None:
    with pytest.raises(ItemsInstead):
        chat(messages=None, input=[{"role": "user", "content": "hi"}])
    with pytest.raises(BadRequest, match="is too short - 'messages'"):
        chat(messages=None, input=None)
    assert chat(input="ignored beside messages") == chat()


def test_log_probabilities_are_asked_for_by_true_alone() -> None:
    assert chat(logprobs=False, top_logprobs=0) == chat()
    assert chat(logprobs=True).logprobs


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"logprobs": True, "top_logprobs": 1}, "top_logprobs"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
    ],
)
def test_what_the_engine_does_not_give_is_refused_by_name(fields: Any, field: str) -> None:
    with pytest.raises(BadRequest, match=f'^"{field}": the engine ') as refusal:
        chat(**fields)
    assert refusal.value.field == field


def test_the_runtime_still_has_neither() -> None:
    """When it gets them, the two refusals above go."""
    fields = {name for name in dir(openvino_genai.GenerationConfig) if not name.startswith("_")}
    assert "logprobs" in fields
    assert not {name for name in fields if "bias" in name or "top_logprobs" in name}


def embeddings(**fields: Any) -> Any:
    return parse_embeddings(json.dumps({"model": "m", "input": "a"} | fields).encode())


def test_embeddings_are_floats_unless_base64_is_asked_for() -> None:
    assert embeddings().encoding == "float"
    assert embeddings(encoding_format="base64", dimensions=4).encoding == "base64"
    assert embeddings(dimensions=4).dimensions == 4
    assert embeddings(input="").texts == ("",)
    assert embeddings(input=["a", "b"]).texts == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": None}, "invalid input"),
        ({"input": []}, "invalid input"),
        ({"input": [1, 2.5]}, "invalid input type"),
        (
            {"encoding_format": "int8"},
            "Invalid value for 'encoding_format' = int8. Supported values: ['float', 'base64'].",
        ),
    ],
)
def test_a_fault_in_embeddings_is_named(fields: Any, words: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        embeddings(**fields)
    assert str(refusal.value) == words


def test_embeddings_without_a_model_find_none() -> None:
    with pytest.raises(ModelNotFound):
        embeddings(model="")
