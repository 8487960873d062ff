"""OpenAI's API as a backend speaks it: what is sent, and what becomes of a refusal."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pictures import picture
from wire_calls import WEATHER, request

from inference.backends.wires import WIRES
from inference.types import (
    Constraint,
    Image,
    Message,
    Sampling,
    ToolCall,
    ToolChoice,
)

WIRE = WIRES["openai"]
PNG, JPEG = picture("red"), picture("blue", form="JPEG")
CALL = ToolCall("call_1", "get_weather", {"city": "Paris", "days": [1, 2]})


def body(**fields: Any) -> dict[str, Any]:
    call = WIRE.chat(request(**fields), "their-name")
    assert call.path == "/v1/chat/completions"
    sent: dict[str, Any] = json.loads(call.body)
    return sent


def turns(*messages: Message) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = body(messages=messages)["messages"]
    return sent


def test_a_question_is_streamed_with_its_usage() -> None:
    assert body(question="Hello", think=None, sampling=Sampling()) == {
        "model": "their-name",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Hello"}],
    }


def test_a_key_goes_in_the_header_and_nowhere_without_one() -> None:
    assert WIRE.headers("k1")["Authorization"] == "Bearer k1"
    assert "Authorization" not in WIRE.headers("")


def test_wishes_about_sampling_are_carried_and_those_without_a_name_left_out() -> None:
    sampling = Sampling(
        temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, seed=3, max_tokens=20, stop=("a", "b"), repeat_penalty=1.2,
        presence_penalty=0.5, frequency_penalty=-0.5,
    )  # fmt: skip
    sent = body(sampling=sampling, think=None, num_ctx=99, keep_alive_s=5.0)
    for name in ("model", "stream", "stream_options", "messages"):
        del sent[name]
    assert sent == {
        "temperature": 0.5, "top_p": 0.9, "seed": 3, "max_tokens": 20, "stop": ["a", "b"],
        "presence_penalty": 0.5, "frequency_penalty": -0.5,
    }  # fmt: skip


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_no_limit_is_not_sent(limit: int | None) -> None:
    assert "max_tokens" not in body(sampling=Sampling(max_tokens=limit))


@pytest.mark.parametrize(
    ("think", "effort", "sent"),
    [
        (None, "", None), (None, "high", None), (False, "", "none"), (True, "", "medium"), (True, "low", "low"),
        (True, "max", "high"),
    ],
)  # fmt: skip
def test_thinking_is_an_effort_and_a_switch_of_the_template(
    think: bool | None, effort: str, sent: str | None
) -> None:
    fields = body(think=think, effort=effort)
    assert fields.get("reasoning_effort") == sent
    switch = None if think is None else {"enable_thinking": think, "thinking": think}
    assert fields.get("chat_template_kwargs") == switch


def test_calls_and_results_know_each_other() -> None:
    found = turns(
        Message(role="user", content="?"),
        Message(role="assistant", content="Let me see", tool_calls=(CALL,)),
        Message(role="tool", content="sunny", tool_call_id="call_1", tool_name="get_weather"),
    )
    assert found[1] == {
        "role": "assistant",
        "content": "Let me see",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Paris","days":[1,2]}'},
            }
        ],
    }
    assert found[2] == {"role": "tool", "content": "sunny", "tool_call_id": "call_1"}


def test_calls_without_ids_get_some_and_their_results_the_same() -> None:
    """As clients of Ollama send them: a result has a name, or nothing at all."""
    found = turns(
        Message(role="user", content="?"),
        Message(
            role="assistant", tool_calls=(ToolCall("", "a", {}), ToolCall("", "b", {}), ToolCall("", "a", {}))
        ),
        Message(role="tool", content="of b", tool_name="b"),
        Message(role="tool", content="of the first a", tool_name="a"),
        Message(role="tool", content="of the other a"),
        Message(role="assistant", tool_calls=(ToolCall("", "a", {}),)),
        Message(role="tool", content="of the last", tool_name="a"),
    )
    first, second, third = (call["id"] for call in found[1]["tool_calls"])
    assert len({first, second, third, found[5]["tool_calls"][0]["id"]}) == 4
    assert [found[at]["tool_call_id"] for at in (2, 3, 4)] == [second, first, third]
    assert found[6]["tool_call_id"] == found[5]["tool_calls"][0]["id"]
    assert all(len(id) == 9 and id.isalnum() for id in (first, second, third))


def test_images_stand_where_they_stood_in_the_text() -> None:
    images = (Image(data=PNG, field="", at=6), Image(data=JPEG, field="", at=6))
    (turn,) = turns(Message(role="user", content="beforeafter", images=images))
    assert [part["type"] for part in turn["content"]] == ["text", "image_url", "image_url", "text"]
    assert (turn["content"][0]["text"], turn["content"][3]["text"]) == ("before", "after")
    images = (Image(data=PNG, field="", at=6), Image(data=JPEG, field="", at=2))
    (mixed,) = turns(Message(role="user", content="beforeafter", images=images))
    assert [part.get("text") for part in mixed["content"]] == ["before", None, None, "after"]
    kind, _, data = turn["content"][2]["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(data) == JPEG
    assert turn["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")


def test_images_of_results_follow_as_a_users_turn() -> None:
    shown = Message(
        role="tool", content="a chart", images=(Image(data=PNG, field=""),), tool_call_id="call_1"
    )
    found = turns(
        Message(role="user", content="?"),
        Message(role="assistant", tool_calls=(CALL,)),
        shown,
        Message(role="tool", content="more", tool_call_id="call_2"),
        Message(role="assistant", content="I see"),
    )
    assert [turn["role"] for turn in found] == ["user", "assistant", "tool", "tool", "user", "assistant"]
    assert found[2]["content"] == "a chart"
    assert found[4]["content"][0]["type"] == "image_url"
    assert turns(Message(role="user", content="?"), shown)[-1]["role"] == "user"


def test_thoughts_go_back_only_since_the_last_question() -> None:
    found = turns(
        Message(role="user", content="1"),
        Message(role="assistant", content="2", thinking="old"),
        Message(role="user", content="3"),
        Message(role="assistant", thinking="new", tool_calls=(CALL,)),
        Message(role="tool", content="sunny", tool_call_id="call_1"),
    )
    assert "reasoning_content" not in found[1]
    assert (found[3]["reasoning_content"], found[3]["reasoning"]) == ("new", "new")


OTHER = WEATHER.__class__(name="set_alarm")


@pytest.mark.parametrize(
    ("choice", "sent", "names"),
    [
        (ToolChoice(), None, ["get_weather", "set_alarm"]),
        (ToolChoice(required=True), "required", ["get_weather", "set_alarm"]),
        (ToolChoice(required=True, names=("set_alarm",)), "required", ["set_alarm"]),
        (ToolChoice(required=True, names=("set_alarm", "x")), "required", ["set_alarm"]),
    ],
)
def test_what_is_said_of_a_choice(choice: ToolChoice, sent: object, names: list[str]) -> None:
    fields = body(tools=(WEATHER, OTHER), tool_choice=choice)
    assert fields.get("tool_choice") == sent
    assert [tool["function"]["name"] for tool in fields["tools"]] == names
    assert "parallel_tool_calls" not in fields


def test_a_tool_has_a_schema_even_where_it_takes_nothing() -> None:
    (weather, alarm) = body(tools=(WEATHER, OTHER), tool_choice=ToolChoice(parallel=False))["tools"]
    assert weather["function"]["parameters"] == WEATHER.parameters
    assert alarm["function"]["parameters"] == {"type": "object", "properties": {}}
    assert body(tools=(WEATHER,), tool_choice=ToolChoice(parallel=False))["parallel_tool_calls"] is False


def test_a_format_is_a_schema_or_any_object() -> None:
    schema = '{"type":"object","properties":{"b":{},"a":{}}}'
    call = WIRE.chat(request(constraint=Constraint(schema)), "m")
    assert schema.encode() in call.body, "the order of the properties is the order of the answer"
    assert json.loads(call.body)["response_format"]["type"] == "json_schema"
    assert body(constraint=Constraint())["response_format"] == {"type": "json_object"}


def test_raw_prompts_and_suffixes_are_completions() -> None:
    call = WIRE.chat(request("def f(", suffix="return 1", think=None, sampling=Sampling(max_tokens=9)), "m")
    assert call.path == "/v1/completions"
    assert json.loads(call.body) == {
        "model": "m", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 9,
        "prompt": "def f(", "suffix": "return 1",
    }  # fmt: skip
    call = WIRE.chat(request("as it is", raw=True), "m")
    assert "suffix" not in json.loads(call.body)


@pytest.mark.parametrize(
    "fields",
    [
        {"before": (1, 2)},
        {"raw": True, "logprobs": True},
        {"raw": True, "constraint": Constraint()},
        {"suffix": "x", "messages": (Message(role="user", images=(Image(data=PNG, field=""),)),)},
    ],
)
def test_what_the_api_cannot_carry_is_refused_in_words(fields: dict[str, Any]) -> None:
    assert WIRE.refuses(request(**fields))
    assert not WIRE.refuses(request())


@pytest.mark.parametrize(
    ("fields", "words", "changed"),
    [
        (
            {"sampling": Sampling(max_tokens=5)},
            "Unsupported parameter: 'max_tokens' is not supported here. Use 'max_completion_tokens' instead.",
            {"max_tokens": None, "max_completion_tokens": 5},
        ),
        (
            {"sampling": Sampling(temperature=0.2)},
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) is supported.",
            {"temperature": None},
        ),
        (
            {"think": False},
            "Unsupported value: 'reasoning_effort' does not support 'none' with this model.",
            {"reasoning_effort": None},
        ),
        (
            {"think": False},
            "body.chat_template_kwargs: Extra inputs are not permitted",
            {"chat_template_kwargs": None},
        ),
        ({"think": True}, 'think value "medium" is not supported for this model', {"reasoning_effort": None}),
        (
            {"constraint": Constraint()},
            "'response_format.type' must be 'json_schema' or 'text'",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            },
        ),
        ({}, "Unknown parameter: 'stream_options'.", {"stream_options": None}),
    ],
)  # fmt: skip
def test_a_refused_field_is_spelled_anew_or_left_out(
    fields: dict[str, Any], words: str, changed: dict[str, Any]
) -> None:
    call = WIRE.chat(request(**fields), "m")
    simpler = WIRE.simpler(call, words)
    assert simpler is not None
    before, after = json.loads(call.body), json.loads(simpler.body)
    wanted = {name: value for name, value in (before | changed).items() if value is not None}
    assert after == wanted
    assert WIRE.simpler(simpler, words) is None, "not twice the same"


@pytest.mark.parametrize(
    "words",
    [
        "temperature must be between 0 and 2",
        "This model's maximum context length is 4096 tokens; 'max_tokens' or 'max_completion_tokens' is too large",
        "Unsupported value: 'reasoning_effort' does not support 'high' with this model.",
        "model not found",
        "",
    ],
)
def test_a_refusal_of_what_was_wished_for_stands(words: str) -> None:
    call = WIRE.chat(request(think=True, effort="high", sampling=Sampling(temperature=3, max_tokens=9)), "m")
    assert WIRE.simpler(call, words) is None
