"""OpenAI's official JavaScript client, unmodified, against a real server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import hub_repositories
import javascript_clients
import pytest
from conftest import RunningServer
from hub_process import Hub
from javascript_clients import ClientError, JavaScriptClient

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
WEATHER_QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "The weather of a city.", "parameters": PARAMETERS}
TERSE = {"model": "demo", "temperature": 0, "reasoning_effort": "none", "max_completion_tokens": 60}


@pytest.fixture(scope="module")
def openai(hub_server: RunningServer) -> Iterator[JavaScriptClient]:
    with javascript_clients.running("openai", hub_server.url) as client:
        yield client


def test_openai_lists_and_retrieves_models(openai: JavaScriptClient) -> None:
    listed = {model["id"]: model for model in openai.stream("models.list")}
    assert {"demo:latest", "all-minilm:latest"} <= listed.keys()
    assert openai.call("models.retrieve", "demo") == listed["demo:latest"] | {"id": "demo"}


def test_openai_retrieves_a_model_with_a_slash_in_its_name(openai: JavaScriptClient, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/js-slash")
    with javascript_clients.running("ollama", openai.url) as ollama:
        ollama.call("pull", {"model": "tiny/js-slash"})
        assert openai.call("models.retrieve", "tiny/js-slash")["owned_by"] == "tiny"
        ollama.call("delete", {"model": "tiny/js-slash"})


def test_openai_chats_in_parts(openai: JavaScriptClient) -> None:
    wish = {
        "model": "demo",
        "messages": QUESTION,
        "temperature": 0,
        "max_completion_tokens": 24,
        "reasoning_effort": "none",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    parts = openai.stream("chat.completions.create", wish)
    *chunks, usage = parts
    assert "".join(part["choices"][0]["delta"].get("content") or "" for part in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] > 0


def test_openai_answers_the_next_request_after_one_that_was_aborted(openai: JavaScriptClient) -> None:
    wish = {"model": "demo", "messages": QUESTION, "max_completion_tokens": 3000, "temperature": 2}
    wish |= {"reasoning_effort": "none"}
    parts = openai.stream("chat.completions.create", wish | {"stream": True}, leave_after=2)
    assert parts[-1]["choices"][0]["finish_reason"] is None
    after = openai.call("chat.completions.create", wish | {"max_completion_tokens": 8})
    assert after["choices"][0]["message"]["role"] == "assistant"


def test_openai_embeds_in_whole_vectors(openai: JavaScriptClient) -> None:
    """This client asks for base64; floats that it takes for base64 come out as vectors of a quarter's length."""
    made = openai.call("embeddings.create", {"model": "all-minilm", "input": ["one", "two"]})
    vectors = [entry["embedding"] for entry in made["data"]]
    assert [len(vector) for vector in vectors] == [384, 384]
    assert math.hypot(*vectors[1]) == pytest.approx(1, abs=1e-3)


def test_openai_gets_an_answer_of_the_schema_it_gave(openai: JavaScriptClient) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "required": ["count"],
        "additionalProperties": False,
    }
    wish = {
        "model": "demo",
        "messages": QUESTION,
        "reasoning_effort": "none",
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": {"name": "counted", "schema": schema}},
    }
    made = openai.call("chat.completions.parse", wish)
    assert isinstance(made["choices"][0]["message"]["parsed"]["count"], int)


@pytest.mark.parametrize(
    ("name", "wish", "words"),
    [
        ("models.retrieve", "nope", "404 model 'nope' not found"),
        ("chat.completions.create", {"model": "nope", "messages": QUESTION}, "404 model 'nope' not found"),
        (
            "embeddings.create",
            {"model": "nope", "input": "x"},
            '404 model "nope" not found, try pulling it first',
        ),
    ],
)
def test_openai_throws_its_own_class_for_an_unknown_model(
    openai: JavaScriptClient, name: str, wish: object, words: str
) -> None:
    with pytest.raises(ClientError) as caught:
        openai.call(name, wish)
    assert (caught.value.name, caught.value.status, caught.value.message) == ("NotFoundError", 404, words)


def test_openai_gathers_a_stream_into_the_answer_of_a_whole_one(openai: JavaScriptClient) -> None:
    """Its helper builds the answer by the index of each part, and fails where a part lacks it."""
    whole = openai.call("chat.completions.create", TERSE | {"messages": QUESTION})
    parts, final = openai.finish(
        "chat.completions.stream",
        "finalChatCompletion",
        TERSE | {"messages": QUESTION, "stream_options": {"include_usage": True}},
    )
    assert len(parts) > 5
    assert final["choices"][0]["message"]["content"] == whole["choices"][0]["message"]["content"]
    assert final["choices"][0]["finish_reason"] == "stop"
    assert final["usage"] == whole["usage"]


def test_openai_thinks_apart_from_the_answer(openai: JavaScriptClient) -> None:
    wish = TERSE | {"messages": QUESTION, "reasoning_effort": "high", "max_completion_tokens": 200}
    message = openai.call("chat.completions.create", wish)["choices"][0]["message"]
    assert message["reasoning"]
    assert message["content"]
    assert message["reasoning"] not in message["content"]


def test_openai_calls_a_tool_and_reads_its_result(openai: JavaScriptClient) -> None:
    wish = TERSE | {"tools": [{"type": "function", "function": WEATHER}]}
    called = openai.call("chat.completions.create", wish | {"messages": WEATHER_QUESTION})["choices"][0]
    assert called["finish_reason"] == "tool_calls"
    (call,) = called["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny in Paris"}
    after = wish | {"messages": [*WEATHER_QUESTION, called["message"], result]}
    _, final = openai.finish("chat.completions.stream", "finalChatCompletion", after)
    assert "sunny" in final["choices"][0]["message"]["content"]


def test_openai_gathers_a_streamed_tool_call(openai: JavaScriptClient) -> None:
    wish = TERSE | {"messages": WEATHER_QUESTION, "tools": [{"type": "function", "function": WEATHER}]}
    _, final = openai.finish("chat.completions.stream", "finalChatCompletion", wish)
    (call,) = final["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (
        "get_weather",
        {"city": "Paris"},
    )


def test_openai_gathers_the_events_of_a_response(openai: JavaScriptClient) -> None:
    wish = {"model": "demo", "input": QUESTION, "temperature": 0, "max_output_tokens": 60}
    wish |= {"reasoning": {"effort": "none"}}
    whole = openai.call("responses.create", wish)
    parts, final = openai.finish("responses.stream", "finalResponse", wish)
    assert parts[-1]["type"] == "response.completed"
    assert final["output_text"] == whole["output_text"] != ""
    assert final["usage"] == whole["usage"]


def test_openai_calls_a_tool_over_responses(openai: JavaScriptClient) -> None:
    tool = {"type": "function", "strict": False, **WEATHER}
    wish = {"model": "demo", "input": WEATHER_QUESTION, "temperature": 0, "tools": [tool]}
    _, final = openai.finish("responses.stream", "finalResponse", wish | {"reasoning": {"effort": "none"}})
    (call,) = final["output"]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == (
        "function_call",
        "get_weather",
        {"city": "Paris"},
    )


def test_openai_completes_a_text(openai: JavaScriptClient) -> None:
    wish = {"model": "demo", "prompt": "How do I pull a model?", "temperature": 0, "max_tokens": 60}
    whole = openai.call("completions.create", wish)["choices"][0]["text"]
    parts = openai.stream("completions.create", wish | {"stream": True})
    assert "".join(part["choices"][0]["text"] for part in parts) == whole != ""
