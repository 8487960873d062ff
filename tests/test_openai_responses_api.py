"""POST /v1/responses against the real server: OpenAI's own client, the sequence of events, the errors."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from conftest import RunningServer
from wire_clients import TOOL_QUESTIONS, v1

QUESTION = "How do I pull a model?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PLAIN: Any = {"reasoning": {"effort": "none"}, "temperature": 0}


def ask(server: RunningServer, **fields: Any) -> httpx.Response:
    body = {"model": "demo", "input": QUESTION, **PLAIN} | fields
    return httpx.post(f"{server.url}/v1/responses", json=body, timeout=60)


def events(server: RunningServer, **fields: Any) -> list[dict[str, Any]]:
    """The stream's events, after checking their names and that their numbers count up."""
    answer = ask(server, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    *parts, rest = answer.text.split("\n\n")
    assert rest == ""
    found = []
    for number, part in enumerate(parts):
        name, data = part.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
        assert found[-1]["sequence_number"] == number
    return found


def test_the_client_gets_a_whole_response(server: RunningServer) -> None:
    response = v1(server.url).responses.create(model="Demo", input=QUESTION, **PLAIN)
    assert response.id.startswith("resp_")
    assert (response.object, response.status, response.model) == ("response", "completed", "Demo")
    assert response.output_text
    assert [item.type for item in response.output] == ["message"]
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.error is None
    assert not response.store


def test_the_client_streams_the_same(server: RunningServer) -> None:
    whole = v1(server.url).responses.create(model="demo", input=QUESTION, **PLAIN)
    with v1(server.url).responses.stream(model="demo", input=QUESTION, **PLAIN) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == whole.output_text == final.output_text
    assert final.usage == whole.usage


def test_the_sequence_of_events(server: RunningServer) -> None:
    found = events(server, instructions="Be brief.", metadata={"a": "b"})
    kinds = [event["type"].removeprefix("response.") for event in found]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    created, last = found[0]["response"], found[-1]["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
    assert (last["instructions"], last["metadata"]) == ("Be brief.", {"a": "b"})
    assert set(created) == set(last)
    item = last["output"][0]
    assert item == found[-2]["item"]
    assert item["content"][0]["text"] == "".join(
        event["delta"] for event in found if event["type"] == "response.output_text.delta"
    )
    assert {event["item_id"] for event in found if "item_id" in event} == {item["id"]}


def test_thoughts_are_an_item_of_their_own(server: RunningServer) -> None:
    found = events(server, reasoning={"effort": "low"})
    added = [event["item"]["type"] for event in found if event["type"] == "response.output_item.added"]
    assert added == ["reasoning", "message"]
    thought = found[-1]["response"]["output"][0]
    assert thought["summary"][0]["text"]
    assert [event["output_index"] for event in found if event["type"] == "response.output_item.done"] == [
        0,
        1,
    ]


def test_thoughts_are_counted_apart_from_the_answer(server: RunningServer) -> None:
    asked: Any = {"model": "demo", "input": "How do I pull a model?", "temperature": 0}
    thought = v1(server.url).responses.create(**asked, reasoning={"effort": "low"}).usage
    plain = v1(server.url).responses.create(**asked, reasoning={"effort": "none"}).usage
    said = v1(server.url).chat.completions.create(
        model="demo", messages=[{"role": "user", "content": asked["input"]}], temperature=0, logprobs=True
    )
    assert thought is not None
    assert plain is not None
    assert said.choices[0].logprobs is not None
    shown = len(said.choices[0].logprobs.content or ())
    assert plain.output_tokens_details.reasoning_tokens == 0
    thoughts = thought.output_tokens_details.reasoning_tokens
    assert thoughts > 5
    assert 0 <= thought.output_tokens - thoughts - shown <= 2, "white space behind the thoughts is neither"
    with v1(server.url).responses.stream(**asked, reasoning={"effort": "low"}) as stream:
        assert stream.get_final_response().usage == thought


def test_a_tool_is_called_and_its_result_is_read(server: RunningServer) -> None:
    client = v1(server.url)
    for question in TOOL_QUESTIONS:
        with client.responses.stream(model="demo", input=question, tools=[WEATHER], **PLAIN) as stream:
            response = stream.get_final_response()
        calls = [item for item in response.output if item.type == "function_call"]
        if calls:
            break
    else:
        pytest.fail("no question made the model call the tool")
    (call,) = calls
    assert (call.name, call.status) == ("get_weather", "completed")
    assert isinstance(json.loads(call.arguments), dict)
    turns: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": question}]},
        *[item.model_dump() for item in response.output],
        {"type": "function_call_output", "call_id": call.call_id, "output": "7 degrees"},
    ]
    answer = client.responses.create(model="demo", input=turns, tools=[WEATHER], **PLAIN)
    assert answer.output
    assert response.usage is not None
    assert answer.usage is not None
    assert answer.usage.input_tokens > response.usage.input_tokens


def test_the_client_reads_calls_of_custom_tools(server: RunningServer) -> None:
    client, words = v1(server.url), {"name": "echo", "description": "Says a word"}
    asked: Any = {"model": "demo", "input": "Call echo with the word yes", "max_output_tokens": 400, **PLAIN}
    tools: Any = [{"type": "custom", **words}]
    nested: Any = [{"type": "custom", "custom": words}]
    with client.responses.stream(**asked, tools=tools, tool_choice="required") as stream:
        (call,) = stream.get_final_response().output
    assert call.type == "custom_tool_call"
    assert call.name == "echo"
    assert isinstance(call.input, str)
    chat = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": asked["input"]}],
        tools=nested,
        tool_choice="required",
        max_tokens=400,
        temperature=0,
        reasoning_effort="none",
    )
    assert chat.choices[0].message.tool_calls
    (said,) = chat.choices[0].message.tool_calls
    assert said.type == "custom"
    assert said.custom.input == call.input


def test_an_answer_that_was_cut_is_incomplete(server: RunningServer) -> None:
    response = v1(server.url).responses.create(model="demo", input=QUESTION, max_output_tokens=3, **PLAIN)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert events(server, max_output_tokens=3)[-1]["type"] == "response.incomplete"


def test_a_schema_is_kept(server: RunningServer) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    form: Any = {"format": {"type": "json_schema", "name": "number", "schema": schema, "strict": True}}
    response = v1(server.url).responses.create(model="demo", input="A number?", text=form, **PLAIN)
    assert isinstance(json.loads(response.output_text)["n"], int)
    assert response.text is not None
    assert response.text.model_dump(by_alias=True)["format"]["schema"] == schema


FAULTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"model": ""}, "model is required"),
    ({"input": []}, "input: give a text, or a list of items"),
    ({"input": [{"type": "x"}]}, 'input[0]: unknown input item type: "x"'),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]: answers are not stored here"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "does not take files",
    ),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "[]"}]}, "input[0].arguments"),
    ({"previous_response_id": "resp_1"}, "answers are not stored here"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort: 'huge' is none of"),
    ({"text": {"format": {"type": "xml"}}}, '"text.format.type" must be'),
    ({"tools": [{"type": "function"}]}, "tools[0].name: is required"),
    ({"seed": "x"}, "ResponsesRequest.seed of type int"),
    ({"seed": 1.5}, "ResponsesRequest.seed of type int"),
)


@pytest.mark.parametrize(("fields", "words"), FAULTS)
def test_a_fault_is_told_by_its_field(server: RunningServer, fields: dict[str, Any], words: str) -> None:
    answer = ask(server, **fields)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_unknown_models_and_stored_responses_are_not_found(server: RunningServer) -> None:
    with pytest.raises(openai.NotFoundError):
        v1(server.url).responses.create(model="missing", input="x")
    with pytest.raises(openai.NotFoundError):
        v1(server.url).responses.retrieve("resp_1")


def test_a_model_that_embeds_does_not_answer(server: RunningServer) -> None:
    answer = ask(server, model="all-minilm")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == '"all-minilm" does not support chat'
