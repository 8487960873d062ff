"""Anthropic's official Python client, unmodified: its runner of tools, its classes for answers, its async half."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import pytest
from conftest import RunningServer
from pydantic import BaseModel
from wire_clients import claude

QUESTION: Any = [{"role": "user", "content": "How do I pull a model?"}]
WEATHER_QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
GREEDY: Any = {"model": "demo", "max_tokens": 80, "extra_body": {"temperature": 0}}
LONG: Any = {
    "model": "demo",
    "max_tokens": 3000,
    "extra_body": {"temperature": 1000, "top_k": 0, "top_p": 1},
}
"""As likely to end at a token as to say any other of two thousand: it is left before."""


class Counted(BaseModel):
    """How many there are."""

    count: int


@anthropic.beta_tool
def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: where
    """
    return f"sunny in {city}"


@anthropic.beta_async_tool
async def look_outside(city: str) -> str:
    """The weather of a city.

    Args:
        city: where
    """
    return f"sunny in {city}"


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def with_anthropic(
    server: RunningServer, scenario: Callable[[anthropic.AsyncAnthropic], Awaitable[None]]
) -> None:
    async def bounded() -> None:
        client = anthropic.AsyncAnthropic(base_url=server.url, api_key="any", max_retries=0)
        async with asyncio.timeout(150), client:
            await scenario(client)

    asyncio.run(bounded())


def test_the_runner_calls_the_tool_and_tells_what_it_said(server: RunningServer) -> None:
    runner = claude(server.url).beta.messages.tool_runner(
        messages=WEATHER_QUESTION, tools=[get_weather], **GREEDY
    )
    first, second = list(runner)
    assert first.stop_reason == "tool_use"
    assert second.stop_reason == "end_turn"
    assert "sunny" in text_of(second)


def test_the_runner_streams(server: RunningServer) -> None:
    runner = claude(server.url).beta.messages.tool_runner(
        messages=WEATHER_QUESTION, tools=[get_weather], stream=True, **GREEDY
    )
    finals = []
    for stream in runner:
        kinds = [event.type for event in stream]
        assert kinds[0] == "message_start"
        finals.append(stream.get_final_message())
    assert [final.stop_reason for final in finals] == ["tool_use", "end_turn"]
    assert "sunny" in text_of(finals[-1])


def test_a_thread_is_sent_again_as_a_whole(server: RunningServer) -> None:
    """Its clients trust the server to keep what was said, and hear here that it does not."""
    thread = claude(server.url).beta.messages.thread(system="Be brief.", **GREEDY)
    first = thread.send(*QUESTION)
    second = thread.send({"role": "user", "content": "And then?"})
    assert text_of(second)
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens


def test_an_answer_becomes_the_class_that_was_asked_for(server: RunningServer) -> None:
    message = claude(server.url).messages.parse(messages=QUESTION, output_format=Counted, **GREEDY)
    assert isinstance(message.parsed_output, Counted)
    with claude(server.url).messages.stream(messages=QUESTION, output_format=Counted, **GREEDY) as stream:
        final = stream.get_final_message()
    assert final.parsed_output == message.parsed_output


def test_a_stream_that_was_left_holds_nobody_up(server: RunningServer) -> None:
    client = claude(server.url)
    with client.messages.stream(messages=QUESTION, **LONG) as stream:
        for text in stream.text_stream:
            assert text
            break
    for event in client.messages.create(messages=QUESTION, stream=True, **LONG):
        assert event.type == "message_start"
        break
    assert text_of(client.messages.create(messages=QUESTION, **GREEDY))


def test_the_raw_response_has_its_headers(server: RunningServer) -> None:
    raw = claude(server.url).messages.with_raw_response.create(messages=QUESTION, **GREEDY)
    assert raw.headers["request-id"] == raw.request_id
    assert text_of(raw.parse())


def test_the_async_client_does_what_the_other_does(server: RunningServer) -> None:
    wanted = text_of(claude(server.url).messages.create(messages=QUESTION, **GREEDY))

    async def scenario(client: anthropic.AsyncAnthropic) -> None:
        assert text_of(await client.messages.create(messages=QUESTION, **GREEDY)) == wanted
        async with client.messages.stream(messages=QUESTION, **GREEDY) as stream:
            assert "".join([text async for text in stream.text_stream]) == wanted
        counted = await client.messages.count_tokens(model="demo", messages=QUESTION)
        assert counted.input_tokens == (await stream.get_final_message()).usage.input_tokens
        assert "demo:latest" in [model.id async for model in client.models.list()]
        with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found"):
            await client.messages.create(model="nope", max_tokens=5, messages=QUESTION)

    with_anthropic(server, scenario)


def test_the_async_client_runs_tools(server: RunningServer) -> None:
    async def scenario(client: anthropic.AsyncAnthropic) -> None:
        runner = client.beta.messages.tool_runner(
            messages=[{"role": "user", "content": "weather in Lisbon"}], tools=[look_outside], **GREEDY
        )
        assert text_of(await runner.until_done())

    with_anthropic(server, scenario)


def test_the_async_client_leaves_a_stream_and_asks_again(server: RunningServer) -> None:
    async def scenario(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(messages=QUESTION, **LONG) as stream:
            async for _ in stream.text_stream:
                break
        assert text_of(await client.messages.create(messages=QUESTION, **GREEDY))

    with_anthropic(server, scenario)
