"""Ollama's own API as a backend speaks it: what is sent, and what becomes of the lines that come back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pictures import picture
from wire_calls import WEATHER, called, ended, fed, request, said, thought

from inference.backends.wire import WireError
from inference.backends.wires import WIRES
from inference.events import TextDelta
from inference.types import FOREVER, Constraint, Image, Message, Sampling, ToolCall, ToolChoice

WIRE = WIRES["ollama"]
PNG = picture("red")


def body(**fields: Any) -> dict[str, Any]:
    call = WIRE.chat(request(**fields), "their-name")
    assert call.path == "/api/chat"
    sent: dict[str, Any] = json.loads(call.body)
    return sent


def test_a_question_is_streamed_and_nothing_is_cut_silently() -> None:
    assert body(question="Hello", think=None, sampling=Sampling()) == {
        "model": "their-name",
        "stream": True,
        "options": {},
        "truncate": False,
        "shift": False,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    assert body(truncate=True)["truncate"] is True


def test_all_wishes_about_sampling_are_options() -> None:
    sampling = Sampling(
        temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, seed=3, max_tokens=20, stop=("a", "b"), repeat_penalty=1.2,
        presence_penalty=0.5, frequency_penalty=-0.5,
    )  # fmt: skip
    assert body(sampling=sampling, num_ctx=99)["options"] == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "seed": 3, "num_predict": 20, "stop": ["a", "b"],
        "repeat_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": -0.5, "num_ctx": 99,
    }  # fmt: skip
    assert body(sampling=Sampling(max_tokens=-1))["options"] == {}


@pytest.mark.parametrize(("seconds", "sent"), [(None, None), (0, 0), (300.0, 300), (2.5, 2.5), (FOREVER, -1)])
def test_keep_alive_is_seconds(seconds: float | None, sent: float | None) -> None:
    assert body(keep_alive_s=seconds).get("keep_alive") == sent


@pytest.mark.parametrize(
    ("think", "effort", "sent"),
    [
        (None, "", None), (None, "high", None), (False, "high", False), (True, "", True), (True, "max", "max"),
        (True, "minimal", True),
    ],
)  # fmt: skip
def test_thinking_is_a_switch_or_a_level(think: bool | None, effort: str, sent: object) -> None:
    assert body(think=think, effort=effort).get("think") == sent


def test_a_level_that_is_not_known_becomes_a_switch() -> None:
    call = WIRE.chat(request(think=True, effort="high"), "m")
    simpler = WIRE.simpler(call, 'think value "high" is not supported for this model')
    assert simpler is not None
    assert json.loads(simpler.body)["think"] is True
    assert WIRE.simpler(simpler, 'think value "high" is not supported for this model') is None
    assert WIRE.simpler(call, '"m" does not support thinking') is None


def test_every_part_of_a_turn_is_carried() -> None:
    found = body(
        messages=(
            Message(role="system", content="Be terse"),
            Message(role="user", content="What is it?", images=(Image(data=PNG, field="", at=4),)),
            Message(
                role="assistant", content="A", thinking="hm", tool_calls=(ToolCall("c1", "f", {"x": [1]}),)
            ),
            Message(role="tool", content="red", tool_name="f", tool_call_id="c1"),
        )
    )["messages"]
    assert found == [
        {"role": "system", "content": "Be terse"},
        {"role": "user", "content": "What is it?", "images": [base64.b64encode(PNG).decode()]},
        {
            "role": "assistant",
            "content": "A",
            "thinking": "hm",
            "tool_calls": [{"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"x": [1]}}}],
        },
        {"role": "tool", "content": "red", "tool_name": "f", "tool_call_id": "c1"},
    ]


def test_only_the_tools_of_the_choice_are_offered() -> None:
    other = WEATHER.__class__(name="set_alarm")
    (tool,) = body(tools=(WEATHER, other), tool_choice=ToolChoice(names=("set_alarm",)))["tools"]
    assert tool["function"] == {
        "name": "set_alarm",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    }


def test_a_format_is_a_schema_or_json() -> None:
    schema = '{"type":"object","properties":{"b":{},"a":{}}}'
    assert b'"format":' + schema.encode() in WIRE.chat(request(constraint=Constraint(schema)), "m").body
    assert body(constraint=Constraint())["format"] == "json"


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"raw": True}, {"prompt": "as it is", "raw": True}),
        ({"suffix": "end"}, {"prompt": "as it is", "suffix": "end"}),
    ],
)
def test_raw_prompts_and_suffixes_are_generated(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    call = WIRE.chat(request("as it is", logprobs=True, **fields), "m")
    assert call.path == "/api/generate"
    found = json.loads(call.body)
    assert {name: found.get(name) for name in sent} == sent
    assert not {"messages", "think"} & set(found)
    assert found["logprobs"] is True


@pytest.mark.parametrize(
    "fields", [{"before": (1,)}, {"tools": (WEATHER,), "tool_choice": ToolChoice(required=True)}]
)
def test_what_the_api_cannot_carry_is_refused_in_words(fields: dict[str, Any]) -> None:
    assert WIRE.refuses(request(**fields))
    assert not WIRE.refuses(request(tools=(WEATHER,)))


# --- what comes back ----------------------------------------------------------------------------------------

LAST = {
    "model": "m", "created_at": "2025-10-26T17:15:24.097767Z", "message": {"role": "assistant", "content": ""},
    "done": True, "done_reason": "stop", "total_duration": 5191566416, "load_duration": 2154458000,
    "prompt_eval_count": 26, "prompt_eval_duration": 383809000, "eval_count": 298, "eval_duration": 4799921000,
}  # fmt: skip


def line(done: bool = False, **message: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "created_at": "x",
        "message": {"role": "assistant", "content": ""} | message,
        "done": done,
    }


def lines(*objects: object) -> bytes:
    return "".join([json.dumps(one) + "\n" for one in objects]).encode()


def test_lines_become_thoughts_text_and_counts() -> None:
    given = lines(line(thinking="hm"), line(content="4"), LAST)
    events = fed(WIRE.reader(request(think=True)), [given])
    assert (thought(events), said(events)) == ("hm", "4")
    end = ended(events)
    assert (end.reason, end.prompt_tokens, end.completion_tokens) == ("stop", 26, 298)
    assert end.load_s == pytest.approx(2.154458)
    assert thought(fed(WIRE.reader(request(think=False)), [given])) == ""


@pytest.mark.parametrize(
    ("reason", "ours"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop")]
)
def test_reasons_become_ours(reason: str | None, ours: str) -> None:
    assert ended(fed(WIRE.reader(request()), [lines(LAST | {"done_reason": reason})])).reason == ours


def test_calls_are_whole_and_old_versions_give_no_ids() -> None:
    new = {"id": "call_ab12cd34", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
    old = {"function": {"name": "f", "arguments": {"x": 1}}}
    first, second = called(fed(WIRE.reader(request()), [lines(line(tool_calls=[new, old]), LAST)]))
    assert first == ToolCall("call_ab12cd34", "f", {"x": 1})
    assert second.arguments == {"x": 1}
    assert second.id.startswith("call_")
    one = WIRE.reader(request(tool_choice=ToolChoice(parallel=False)))
    assert called(fed(one, [lines(line(tool_calls=[new, old]), LAST)])) == [first]


def test_a_call_may_come_with_the_last_line() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    last = LAST | {"message": {"role": "assistant", "content": "so", "tool_calls": [call]}}
    events = fed(WIRE.reader(request()), [lines(last)])
    assert said(events) == "so"
    assert [one.name for one in called(events)] == ["f"]


def test_a_generated_text_is_in_the_response() -> None:
    last = {"response": " b", "done": True, "done_reason": "length", "context": [1, 2]}
    events = fed(WIRE.reader(request(raw=True)), [lines({"response": "a", "done": False}, last)])
    assert (said(events), ended(events).reason) == ("a b", "length")


def test_log_probabilities_stand_beside_the_text() -> None:
    entry = {"token": "4", "logprob": -0.25, "bytes": [52], "top_logprobs": []}
    text, _ = fed(
        WIRE.reader(request(logprobs=True)), [lines(line(content="4") | {"logprobs": [entry]}, LAST)]
    )
    assert isinstance(text, TextDelta)
    assert [(token.spelled, token.logprob, token.offset) for token in text.tokens] == [(b"4", -0.25, 0)]


@pytest.mark.parametrize("function", [None, {}, {"name": ""}, {"name": "f", "arguments": [1]}])
def test_a_call_that_cannot_be_made_is_a_failure(function: object) -> None:
    with pytest.raises(WireError):
        fed(WIRE.reader(request()), [lines(line(tool_calls=[{"function": function}]), LAST)])
