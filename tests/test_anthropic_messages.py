"""POST /v1/messages against the real server: Anthropic's own client, the sequence of events, the errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import httpx
import pytest
from conftest import RunningServer
from wire_clients import TOOL_QUESTIONS, claude

QUESTION: Any = [{"role": "user", "content": "How do I pull a model?"}]
GREEDY: Any = {"temperature": 0}
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(server: RunningServer, **fields: Any) -> httpx.Response:
    body = {"model": "demo", "max_tokens": 60, "messages": QUESTION, "temperature": 0} | fields
    body = {name: value for name, value in body.items() if value is not None}
    return httpx.post(f"{server.url}/v1/messages?beta=true", json=body, timeout=60)


def events(server: RunningServer, **fields: Any) -> list[dict[str, Any]]:
    """The stream's events, after checking that each is named as its data says."""
    answer = ask(server, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    *parts, rest = answer.text.split("\n\n")
    assert rest == ""
    found = []
    for part in parts:
        name, data = part.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def check_blocks(found: list[dict[str, Any]]) -> None:
    """One block is open at a time, and the indexes count up."""
    is_open, count = False, 0
    for event in found:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == count
                is_open = True
            case "content_block_delta":
                assert is_open
                assert event["index"] == count
            case "content_block_stop":
                assert is_open
                is_open, count = False, count + 1
    assert not is_open


def test_the_client_gets_a_whole_message(server: RunningServer) -> None:
    message = claude(server.url).messages.create(
        model="Demo", max_tokens=80, messages=QUESTION, extra_body=GREEDY
    )
    assert message.id.startswith("msg_")
    assert (message.type, message.role, message.model) == ("message", "assistant", "Demo")
    assert [block.type for block in message.content] == ["text"]
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 5
    assert message.usage.output_tokens > 1
    assert message._request_id


def test_the_client_streams_the_same(server: RunningServer) -> None:
    whole = claude(server.url).messages.create(
        model="demo", max_tokens=80, messages=QUESTION, extra_body=GREEDY
    )
    with claude(server.url).messages.stream(
        model="demo", max_tokens=80, messages=QUESTION, extra_body=GREEDY
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert whole.content[0].type == "text"
    assert text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.stop_reason == "end_turn"


def test_the_asynchronous_client_streams(server: RunningServer) -> None:
    async def read() -> str:
        client = anthropic.AsyncAnthropic(base_url=server.url, auth_token="any", api_key=None, max_retries=0)
        async with client, client.messages.stream(model="demo", max_tokens=20, messages=QUESTION) as stream:
            return "".join([text async for text in stream.text_stream])

    assert asyncio.run(read())


def test_the_sequence_of_events(server: RunningServer) -> None:
    found = events(server)
    kinds = [event["type"] for event in found]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    start = found[0]["message"]
    assert start["content"] == []
    assert start["stop_reason"] is None
    assert start["usage"]["output_tokens"] == 0
    assert found[1] == {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    assert found[-2]["usage"]["input_tokens"] == start["usage"]["input_tokens"]
    check_blocks(found)


def test_thoughts_are_a_block_of_their_own_only_when_asked_for(server: RunningServer) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    found = events(server, thinking=thinking, max_tokens=300)
    blocks = [event["content_block"]["type"] for event in found if event["type"] == "content_block_start"]
    assert blocks == ["thinking", "text"]
    check_blocks(found)
    whole = ask(server, thinking=thinking, max_tokens=300).json()
    assert [block["type"] for block in whole["content"]] == ["thinking", "text"]
    assert whole["content"][0]["signature"] == ""
    for off in (None, {"type": "disabled"}):
        assert [block["type"] for block in ask(server, thinking=off).json()["content"]] == ["text"]


def test_a_tool_is_called_and_its_result_is_read(server: RunningServer) -> None:
    client = claude(server.url)
    for question in TOOL_QUESTIONS:
        asked: Any = {"role": "user", "content": question}
        with client.messages.stream(
            model="demo", max_tokens=100, messages=[asked], tools=[WEATHER], extra_body=GREEDY
        ) as stream:
            message = stream.get_final_message()
        if message.stop_reason == "tool_use":
            break
    else:
        pytest.fail("no question made the model call the tool")
    (call,) = [block for block in message.content if block.type == "tool_use"]
    assert call.name == "get_weather"
    assert isinstance(call.input, dict)
    result: Any = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": [{"type": "text", "text": "7 degrees"}],
    }
    turns: Any = [
        asked,
        {"role": "assistant", "content": [block.model_dump() for block in message.content]},
        {"role": "user", "content": [{"type": "text", "text": "Tell me."}, result]},
    ]
    answer = client.messages.create(
        model="demo", max_tokens=60, messages=turns, tools=[WEATHER], extra_body=GREEDY
    )
    assert answer.content
    assert answer.usage.input_tokens > message.usage.input_tokens


def test_tool_blocks_of_a_stream(server: RunningServer) -> None:
    for question in TOOL_QUESTIONS:
        found = events(
            server, messages=[{"role": "user", "content": question}], tools=[WEATHER], max_tokens=100
        )
        starts = [event for event in found if event["type"] == "content_block_start"]
        if starts[-1]["content_block"]["type"] == "tool_use":
            break
    else:
        pytest.fail("no question made the model call the tool")
    check_blocks(found)
    assert starts[-1]["content_block"]["input"] == {}
    (delta,) = [
        event["delta"]
        for event in found
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta"
    ]
    assert isinstance(json.loads(delta["partial_json"]), dict)
    assert found[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


def test_why_an_answer_ended(server: RunningServer) -> None:
    assert ask(server, max_tokens=3).json()["stop_reason"] == "max_tokens"
    text = ask(server).json()["content"][0]["text"]
    word = text.split()[1]
    stopped = ask(server, stop_sequences=[word]).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", word)
    assert stopped["content"][0]["text"] == text[: text.index(word)]


@pytest.mark.parametrize("where", ["output_config", "output_format"])
def test_an_answer_has_the_format_that_was_asked_for(server: RunningServer, where: str) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [17]}}, "required": ["n"]}
    form = {"type": "json_schema", "schema": schema}
    wish = {"output_config": {"format": form}} if where == "output_config" else {"output_format": form}
    said = ask(server, **wish).json()["content"][-1]["text"]
    assert json.loads(said) == {"n": 17}


def test_system_texts_and_unknown_blocks_are_taken(server: RunningServer) -> None:
    cached = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    turn = {"role": "user", "content": [cached, {"type": "redacted_thinking", "data": "x"}]}
    answer = ask(server, system=[cached], messages=[turn], metadata={"user_id": "u"}, service_tier="auto")
    assert answer.status_code == 200
    assert set(answer.json()["usage"]) == {"input_tokens", "output_tokens"}


@pytest.mark.parametrize("system", [None, "Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_tokens_are_counted_as_a_message_has_them(server: RunningServer, system: Any) -> None:
    turns: Any = [{"role": "user", "content": "Grüße, was läuft? 你好"}]
    more: Any = {} if system is None else {"system": system}
    counted = claude(server.url).messages.count_tokens(model="demo", messages=turns, tools=[WEATHER], **more)
    said = ask(server, messages=turns, tools=[WEATHER], system=system, max_tokens=1).json()
    assert counted.input_tokens == said["usage"]["input_tokens"]


FAULTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"model": None}, "model is required"),
    ({"max_tokens": None}, "max_tokens is required and must be positive"),
    ({"max_tokens": 0}, "max_tokens is required and must be positive"),
    ({"messages": []}, "messages is required"),
    ({"messages": [{"role": "user", "content": 4}]}, "messages.0.content: give a string"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: 'robot' is none of"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
        "invalid image source type: url. Only base64 images are supported.",
    ),
    (
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "x", "input": {}}]}]},
        "tool_use block missing required 'id' field",
    ),
    ({"thinking": {"type": "perhaps"}}, "thinking.type: 'perhaps' is none of"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: 'xml' is not json_schema"),
    ({"output_format": {"type": "json_schema"}}, "output_config.format.schema: give a JSON schema"),
    ({"tools": [{"description": "nameless"}]}, "tools.0.name: field required"),
    ({"tools": [WEATHER, {"name": "shapeless"}]}, "tools.1.input_schema: field required"),
    ({"tools": [{"type": "custom", "name": "shapeless"}]}, "tools.0.input_schema: field required"),
    ({"seed": "x"}, "MessagesRequest.seed of type int"),
    ({"seed": 1.5}, "MessagesRequest.seed of type int"),
    ({"model": "all-minilm"}, '"all-minilm" does not support chat'),
)


@pytest.mark.parametrize(("fields", "words"), FAULTS)
def test_a_fault_is_told_in_anthropics_shape(
    server: RunningServer, fields: dict[str, Any], words: str
) -> None:
    answer = ask(server, **fields)
    assert answer.status_code == 400
    fault = answer.json()
    assert fault["type"] == "error"
    assert fault["error"]["type"] == "invalid_request_error"
    assert words in fault["error"]["message"]
    assert fault["request_id"] == answer.headers["request-id"]


def test_a_thread_begins_but_none_is_kept(server: RunningServer) -> None:
    assert ask(server, thread={"type": "create"}).status_code == 200
    answer = ask(server, thread={"type": "continue", "previous_message_id": "msg_1"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["type"], error["details"]) == ("not_found_error", {"error_code": "thread_not_found"})
    assert "msg_1" in error["message"]
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude(server.url).messages.create(
            model="demo", max_tokens=5, messages=QUESTION, extra_body={"thread": {"type": "continue"}}
        )
    assert caught.value.error_code == "thread_not_found"


def test_the_clients_errors(server: RunningServer) -> None:
    client = claude(server.url)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="missing", max_tokens=5, messages=QUESTION)
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: 12015 tokens > 4096 maximum"):
        client.messages.create(
            model="demo", max_tokens=5, messages=[{"role": "user", "content": "word " * 6000}]
        )
    assert ask(server, messages=QUESTION).status_code == 200
    wrong = httpx.get(f"{server.url}/v1/messages")
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (405, "api_error")
    assert httpx.post(f"{server.url}/v1/messages/batches", json={}).json()["type"] == "error"
