"""OpenAI's official Python client, unmodified: its classes for answers, its helpers for streams, its async half."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from conftest import RunningServer
from pydantic import BaseModel
from wire_clients import v1, with_openai

QUESTION: Any = [{"role": "user", "content": "How do I pull a model?"}]
WEATHER_QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
GREEDY: Any = {"model": "demo", "temperature": 0, "reasoning_effort": "none", "max_completion_tokens": 60}
BRIEF: Any = {"model": "demo", "temperature": 0, "reasoning": {"effort": "none"}, "max_output_tokens": 60}
LONG: Any = {
    "model": "demo",
    "reasoning_effort": "none",
    "max_completion_tokens": 3000,
    "temperature": 1000,
    "extra_body": {"top_k": 0},
}
"""As likely to end at a token as to say any other of two thousand: it is left before."""


class Counted(BaseModel):
    """How many there are."""

    count: int


class Weather(BaseModel):
    """The weather of a city."""

    city: str


TOOL: Any = openai.pydantic_function_tool(Weather, name="get_weather")


def test_an_answer_becomes_the_class_that_was_asked_for(server: RunningServer) -> None:
    client = v1(server.url)
    parsed = client.chat.completions.parse(messages=QUESTION, response_format=Counted, **GREEDY)
    assert isinstance(parsed.choices[0].message.parsed, Counted)
    with client.chat.completions.stream(messages=QUESTION, response_format=Counted, **GREEDY) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.parsed == parsed.choices[0].message.parsed


def test_arguments_of_a_call_become_the_class_of_the_tool(server: RunningServer) -> None:
    client = v1(server.url)
    parsed = client.chat.completions.parse(messages=WEATHER_QUESTION, tools=[TOOL], **GREEDY)
    assert parsed.choices[0].message.tool_calls
    assert parsed.choices[0].message.tool_calls[0].function.parsed_arguments == Weather(city="Paris")
    with client.chat.completions.stream(messages=WEATHER_QUESTION, tools=[TOOL], **GREEDY) as stream:
        (done,) = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    assert done.parsed_arguments == Weather(city="Paris")


def test_a_response_becomes_the_class_that_was_asked_for(server: RunningServer) -> None:
    client = v1(server.url)
    parsed = client.responses.parse(input=QUESTION, text_format=Counted, **BRIEF)
    assert isinstance(parsed.output_parsed, Counted)
    with client.responses.stream(input=QUESTION, text_format=Counted, **BRIEF) as stream:
        assert list(stream)[-1].type == "response.completed"
        final = stream.get_final_response()
    assert final.output_parsed == parsed.output_parsed


def test_a_stream_that_was_left_holds_nobody_up(server: RunningServer) -> None:
    client = v1(server.url)
    with client.chat.completions.create(messages=QUESTION, stream=True, **LONG) as stream:
        for chunk in stream:
            assert chunk.choices[0].finish_reason is None
            break
    assert client.chat.completions.create(messages=QUESTION, **GREEDY).choices[0].message.content


def test_the_raw_response_has_its_headers(server: RunningServer) -> None:
    raw = v1(server.url).chat.completions.with_raw_response.create(messages=QUESTION, **GREEDY)
    assert raw.headers["x-npu-proxy-device"] == "CPU"
    assert raw.parse().choices[0].message.content


def test_the_async_client_gathers_streams(server: RunningServer) -> None:
    wanted = v1(server.url).chat.completions.create(messages=QUESTION, **GREEDY).choices[0].message.content
    assert wanted

    async def scenario(client: openai.AsyncOpenAI) -> None:
        whole = await client.chat.completions.create(messages=QUESTION, **GREEDY)
        assert whole.choices[0].message.content == wanted
        async with client.chat.completions.stream(messages=QUESTION, **GREEDY) as chat:
            assert (await chat.get_final_completion()).choices[0].message.content == wanted
        async with client.responses.stream(input=QUESTION, **BRIEF) as response:
            assert (await response.get_final_response()).output_text == wanted
        parsed = await client.chat.completions.parse(messages=QUESTION, response_format=Counted, **GREEDY)
        assert isinstance(parsed.choices[0].message.parsed, Counted)
        with pytest.raises(openai.BadRequestError, match="maximum context length") as caught:
            await client.chat.completions.create(
                messages=[{"role": "user", "content": "word " * 6000}], **GREEDY
            )
        assert caught.value.code == "context_length_exceeded"

    with_openai(server.url, scenario)


def test_the_async_client_leaves_a_stream_and_asks_again(server: RunningServer) -> None:
    async def scenario(client: openai.AsyncOpenAI) -> None:
        async with await client.chat.completions.create(messages=QUESTION, stream=True, **LONG) as stream:
            async for chunk in stream:
                assert chunk.choices[0].finish_reason is None
                break
        said = await client.completions.create(model="demo", prompt="Hi", temperature=0, max_tokens=20)
        assert said.choices[0].text

    with_openai(server.url, scenario)
