"""/v1/responses with the stream helper of OpenAI's client, which accumulates every event and believes none twice."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import httpx
import pydantic
from conftest import RunningServer
from wire_clients import v1

QUESTION = "How do I pull a model?"
PLAIN: Any = {"model": "demo", "reasoning": {"effort": "none"}, "temperature": 0}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Number(pydantic.BaseModel):
    n: int


def streamed(server: RunningServer, **fields: Any) -> tuple[Any, dict[str, list[Any]]]:
    """The final response, and the events by their type."""
    found: dict[str, list[Any]] = defaultdict(list)
    with v1(server.url).responses.stream(**{**PLAIN, "input": QUESTION, **fields}) as stream:
        for event in stream:
            found[event.type.removeprefix("response.")].append(event)
        return stream.get_final_response(), found


def test_text_grows_by_its_deltas(server: RunningServer) -> None:
    final, found = streamed(server)
    deltas = found["output_text.delta"]
    assert "".join(event.delta for event in deltas) == final.output_text != ""
    assert deltas[-1].snapshot == found["output_text.done"][0].text == final.output_text
    assert final.output[0].status == "completed"


def test_thoughts_are_a_summary_that_grows(server: RunningServer) -> None:
    final, found = streamed(server, reasoning={"effort": "high", "summary": "auto"})
    thoughts, message = final.output
    assert "".join(event.delta for event in found["reasoning_summary_text.delta"]) == thoughts.summary[0].text
    assert (thoughts.encrypted_content, message.type) == (None, "message")
    again = v1(server.url).responses.create(
        **PLAIN,
        input=[
            {"role": "user", "content": QUESTION},
            thoughts.model_dump(),
            {"role": "user", "content": "And?"},
        ],
    )
    assert again.status == "completed", "what was sent out comes back as input"


def test_a_call_comes_with_its_arguments_parsed(server: RunningServer) -> None:
    final, found = streamed(server, input="Weather in Paris?", tools=[WEATHER], tool_choice="required")
    (call,) = final.output
    assert call.parsed_arguments == json.loads(call.arguments)
    assert set(call.parsed_arguments) == {"city"}
    (done,) = found["function_call_arguments.done"]
    assert done.arguments == call.arguments == found["function_call_arguments.delta"][-1].snapshot
    assert final.tool_choice == "required"
    assert final.tools[0].strict is True


def test_an_answer_that_was_cut_ends_as_incomplete(server: RunningServer) -> None:
    """The helper's get_final_response() knows completed answers alone, OpenAI's own included."""
    for fields in ({}, {"reasoning": {"effort": "low"}}):
        body: Any = {**PLAIN, "input": QUESTION, "max_output_tokens": 3, **fields}
        with v1(server.url).responses.stream(**body) as stream:
            last: Any = list(stream)[-1]
        assert last.type == "response.incomplete"
        assert (last.response.status, last.response.incomplete_details.reason) == (
            "incomplete",
            "max_output_tokens",
        )
        assert last.response.output[-1].status == "incomplete"
        assert last.response.usage.output_tokens == 3


def test_a_schema_of_the_client_is_kept_and_parsed(server: RunningServer) -> None:
    final, _ = streamed(server, input="A number?", text_format=Number)
    assert isinstance(final.output_parsed, Number)
    assert final.text.format.type == "json_schema"
    assert final.text.format.strict is True
    parsed = v1(server.url).responses.parse(**PLAIN, input="A number?", text_format=Number)
    assert parsed.output_parsed == final.output_parsed


def tokens_of(server: RunningServer, given: Any, **fields: Any) -> int:
    response = v1(server.url).responses.create(**PLAIN, input=given, max_output_tokens=1, **fields)
    assert response.usage is not None
    tokens: int = response.usage.input_tokens
    return tokens


def test_instructions_and_the_developer_are_one_system_text(server: RunningServer) -> None:
    parts = [{"type": "input_text", "text": "Use few words."}]
    given = [
        {"type": "message", "role": "developer", "content": parts},
        {"role": "system", "content": "In English."},
        {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
    ]
    turns = [
        {"role": "system", "content": "Be brief.\n\nUse few words.\n\nIn English."},
        {"role": "user", "content": QUESTION},
    ]
    asked = {"model": "demo", "messages": turns, "reasoning_effort": "none"}
    counted = httpx.post(f"{server.url}/v1/tokenize", json=asked, timeout=60).json()["count"]
    assert tokens_of(server, given, instructions="Be brief.") == counted


def test_the_result_of_a_call_may_come_in_parts(server: RunningServer) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": '{"city":"Rome"}'}
    before = [{"role": "user", "content": "Weather?"}, call]
    parts = [{"type": "input_text", "text": text} for text in ("7 degrees", "and rain")]
    outputs = [
        {"type": "function_call_output", "call_id": "c", "output": output}
        for output in ("7 degrees\nand rain", parts)
    ]
    whole, in_parts = (tokens_of(server, [*before, output], tools=[WEATHER]) for output in outputs)
    assert whole == in_parts
