"""Anthropic's Messages API as a backend speaks it: what is sent."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pictures import picture
from wire_calls import WEATHER, request

from inference.backends.wires import WIRES
from inference.types import Constraint, Image, Message, Sampling, ToolCall, ToolChoice

WIRE = WIRES["anthropic"]
PNG = picture("red")
CALL = ToolCall("functions.f:0", "f", {"x": [1]})


def body(**fields: Any) -> dict[str, Any]:
    call = WIRE.chat(request(**fields), "their-name")
    assert call.path == "/v1/messages"
    sent: dict[str, Any] = json.loads(call.body)
    return sent


def turns(*messages: Message) -> list[tuple[str, list[Any]]]:
    """Roles, and the kinds of their blocks or the text."""
    found = body(messages=messages)["messages"]
    return [(turn["role"], [block.get("text", block["type"]) for block in turn["content"]]) for turn in found]


def user(text: str) -> Message:
    return Message(role="user", content=text)


def test_a_question_is_streamed_with_the_limit_that_the_api_wants() -> None:
    assert body(question="Hello", think=None, sampling=Sampling()) == {
        "model": "their-name",
        "max_tokens": 8192,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }


def test_the_key_and_the_version_go_in_headers() -> None:
    assert WIRE.headers("k1")["x-api-key"] == "k1"
    assert WIRE.headers("k1")["anthropic-version"] == "2023-06-01"
    assert "x-api-key" not in WIRE.headers("")


def test_system_texts_stand_in_front_of_everything() -> None:
    messages = (
        Message(role="system", content="One"), user("?"), Message(role="system", content="Two"),
        Message(role="system", content=" "),
    )  # fmt: skip
    assert body(messages=messages)["system"] == "One\n\nTwo"
    assert turns(*messages) == [("user", ["?"])]


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ((user("a"), user("b")), [("user", ["a", "b"])]),
        ((Message(role="assistant", content="Hi"), user("a")),
         [("user", ["."]), ("assistant", ["Hi"]), ("user", ["a"])]),
        ((), [("user", ["."])]),
        ((user(""),), [("user", ["."])]),
        ((user("a"), Message(role="assistant"), user("b")), [("user", ["a", "b"])]),
        ((user("a"), Message(role="assistant", content="Once \n")), [("user", ["a"]), ("assistant", ["Once"])]),
    ],
)  # fmt: skip
def test_roles_alternate_from_a_user_on(messages: tuple[Message, ...], found: object) -> None:
    assert turns(*messages) == found


def test_results_are_one_turn_right_after_the_calls_and_before_what_is_said() -> None:
    messages = (
        user("?"),
        Message(role="assistant", content="Let me see", tool_calls=(CALL, ToolCall("", "g", {}))),
        Message(role="tool", content="one", tool_call_id="functions.f:0"),
        Message(role="tool", content="two", tool_name="g"),
        user("And?"),
    )
    _, asked, answered = body(messages=messages)["messages"]
    uses = asked["content"][1:]
    assert [block["type"] for block in asked["content"]] == ["text", "tool_use", "tool_use"]
    assert uses[0] == {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"x": [1]}}
    assert answered["content"] == [
        {"type": "tool_result", "tool_use_id": "functions_f_0", "content": "one"},
        {"type": "tool_result", "tool_use_id": uses[1]["id"], "content": "two"},
        {"type": "text", "text": "And?"},
    ]


def test_results_stand_first_in_their_turn_whatever_came_before_them() -> None:
    late = (
        user("?"),
        Message(role="assistant", tool_calls=(CALL,)),
        user("Well?"),
        Message(role="tool", content="one", tool_call_id=CALL.id),
    )
    assert turns(*late)[2] == ("user", ["tool_result", "Well?"])


def test_images_are_blocks_at_their_place_in_turns_and_results() -> None:
    image = Image(data=PNG, field="", at=2)
    messages = (
        Message(role="user", content="a b", images=(image,)),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="a b", images=(image,), tool_call_id=CALL.id),
    )
    found = body(messages=messages)["messages"]
    shown = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    blocks = [
        {"type": "text", "text": "a "},
        {"type": "image", "source": shown},
        {"type": "text", "text": "b"},
    ]
    assert found[0]["content"] == blocks
    assert found[2]["content"][0]["content"] == blocks


def test_thoughts_of_earlier_turns_stay_here() -> None:
    messages = (user("?"), Message(role="assistant", content="4", thinking="hm"), user("Sure?"))
    assert "hm" not in json.dumps(body(messages=messages, think=True))


@pytest.mark.parametrize(
    ("effort", "limit", "max_tokens", "budget"),
    [
        ("", None, 16384, 8192), ("low", None, 10240, 2048), ("max", None, 40192, 32000),
        ("high", 100_000, 100_000, 16384),
        ("high", 8000, 8000, 4000), ("low", 2048, 2048, 1024), ("low", 2047, 2047, None), ("", 5, 5, None),
    ],
)  # fmt: skip
def test_the_budget_of_thoughts_leaves_room_for_an_answer(
    effort: str, limit: int | None, max_tokens: int, budget: int | None
) -> None:
    fields = body(think=True, effort=effort, sampling=Sampling(max_tokens=limit))
    assert fields["max_tokens"] == max_tokens
    wanted = None if budget is None else {"type": "enabled", "budget_tokens": budget}
    assert fields.get("thinking") == wanted


@pytest.mark.parametrize(
    "fields",
    [
        {"think": False},
        {"think": None},
        {"think": True, "tools": (WEATHER,), "tool_choice": ToolChoice(required=True)},
        {
            "think": True,
            "messages": (user("?"), Message(role="assistant", tool_calls=(CALL,)), Message(role="tool")),
        },
    ],
)
def test_there_are_no_thoughts_where_the_api_has_none(fields: dict[str, Any]) -> None:
    assert "thinking" not in body(**fields)


ALL = Sampling(
    temperature=1.5, top_p=0.9, top_k=7, min_p=0.1, seed=3, max_tokens=4000, stop=("a",), repeat_penalty=1.2,
    presence_penalty=0.5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, {"temperature": 1.0, "top_p": 0.9, "top_k": 7, "stop_sequences": ["a"]}),
        ({"think": True}, {"stop_sequences": ["a"], "thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ({"sampling": Sampling(temperature=0.5, top_p=1.0, max_tokens=4000)}, {"temperature": 0.5}),
        (
            {
                "think": True,
                "effort": "low",
                "sampling": Sampling(temperature=0.0, top_p=0.96, max_tokens=4000),
            },
            {"top_p": 0.96, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
    ],
)
def test_sampling_is_what_the_api_and_its_thoughts_allow(
    fields: dict[str, Any], sent: dict[str, Any]
) -> None:
    found = body(**{"sampling": ALL} | fields)
    for name in ("model", "stream", "messages", "max_tokens"):
        del found[name]
    assert found == sent


OTHER = WEATHER.__class__(name="set_alarm")


@pytest.mark.parametrize(
    ("choice", "sent", "names"),
    [
        (ToolChoice(), None, ["get_weather", "set_alarm"]),
        (ToolChoice(required=True), {"type": "any"}, ["get_weather", "set_alarm"]),
        (
            ToolChoice(required=True, names=("set_alarm",), parallel=False),
            {"type": "tool", "name": "set_alarm", "disable_parallel_tool_use": True},
            ["get_weather", "set_alarm"],
        ),
        (ToolChoice(parallel=False), {"type": "auto", "disable_parallel_tool_use": True}, ["get_weather", "set_alarm"]),
        (ToolChoice(required=True, names=("set_alarm", "x")), {"type": "any"}, ["set_alarm"]),
    ],
)  # fmt: skip
def test_what_is_said_of_a_choice(choice: ToolChoice, sent: object, names: list[str]) -> None:
    fields = body(tools=(WEATHER, OTHER), tool_choice=choice)
    assert fields.get("tool_choice") == sent
    assert [tool["name"] for tool in fields["tools"]] == names
    assert fields["tools"][-1]["input_schema"] == {"type": "object", "properties": {}}


def test_calls_of_the_past_need_tools_even_where_none_may_be_called() -> None:
    messages = (
        user("?"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", tool_call_id=CALL.id),
    )
    fields = body(messages=messages)
    assert fields["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert fields["tool_choice"] == {"type": "none"}


def test_a_format_is_a_schema() -> None:
    schema = '{"type":"object","properties":{"b":{},"a":{}}}'
    call = WIRE.chat(request(constraint=Constraint(schema)), "m")
    assert b'"output_config":{"format":{"type":"json_schema","schema":' + schema.encode() in call.body


@pytest.mark.parametrize(
    "fields",
    [
        {"before": (1,)},
        {"raw": True},
        {"suffix": "x"},
        {"logprobs": True},
        {"constraint": Constraint()},
        {"sampling": Sampling(stop=("a", "\n\n"))},
        {"messages": (Message(role="critic", content="x"),)},
        {"messages": (Message(role="user", images=(Image(data=picture("red", form="BMP"), field=""),)),)},
    ],
)
def test_what_the_api_cannot_carry_is_refused_in_words(fields: dict[str, Any]) -> None:
    assert WIRE.refuses(request(**fields))
    assert not WIRE.refuses(request(sampling=Sampling(stop=("a",)), constraint=Constraint("{}")))


def test_models_without_budgets_get_a_level() -> None:
    words = (
        '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.'
    )
    call = WIRE.chat(request(think=True, effort="high", constraint=Constraint("{}")), "m")
    simpler = WIRE.simpler(call, words)
    assert simpler is not None
    found = json.loads(simpler.body)
    assert found["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert found["output_config"] == {"format": {"type": "json_schema", "schema": {}}, "effort": "high"}
    assert WIRE.simpler(simpler, words) is None


def test_of_two_wishes_about_sampling_the_temperature_stays() -> None:
    words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    call = WIRE.chat(request(sampling=Sampling(temperature=0.2, top_p=0.9)), "m")
    simpler = WIRE.simpler(call, words)
    assert simpler is not None
    assert json.loads(simpler.body)["temperature"] == 0.2
    assert "top_p" not in json.loads(simpler.body)
    assert WIRE.simpler(call, "temperature: range: 0..1") is None
