"""LangChain, unmodified, over both APIs: tests/clients/langchain/."""

from __future__ import annotations

import math
from typing import Any

import client_scenarios
import pytest
from client_scenarios import ScenarioError, Scenarios
from conftest import RunningServer
from wire_clients import native

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
SAID_BY_AN_AGENT = ["human", "ai", "tool", "ai"]


@pytest.fixture(scope="module")
def ollama(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Scenarios:
    return client_scenarios.run(
        "langchain", "langchain_native.py", server.url, tmp_path_factory.mktemp("langchain")
    )


@pytest.fixture(scope="module")
def openai(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Scenarios:
    return client_scenarios.run(
        "langchain", "langchain_v1.py", server.url, tmp_path_factory.mktemp("langchain")
    )


@pytest.fixture(scope="module")
def answer(server: RunningServer) -> str:
    return client_scenarios.told(server.url, QUESTION)


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
def test_chat_ollama_says_what_ollama_s_own_client_is_told(ollama: Scenarios, answer: str, how: str) -> None:
    said = ollama[how]
    assert said["content"] == answer
    assert said["response_metadata"]["done_reason"] == "stop"
    assert said["usage_metadata"]["output_tokens"] == said["response_metadata"]["eval_count"] > 5


def test_chat_ollama_streams_in_parts(ollama: Scenarios) -> None:
    assert ollama["stream"]["parts"] > 5
    assert ollama["astream"]["parts"] > 5


def test_chat_ollama_answers_a_batch_and_ollama_llm_a_prompt(ollama: Scenarios, answer: str) -> None:
    first, second = ollama["batch"]
    assert first == answer
    assert second not in ("", answer)
    assert ollama["text_completion"] == answer


@pytest.mark.parametrize("api", ["ollama", "openai"])
def test_a_stream_that_was_left_holds_nobody_up(
    answer: str, api: str, request: pytest.FixtureRequest
) -> None:
    made: Scenarios = request.getfixturevalue(api)
    assert made["left"] == answer


def test_chat_ollama_keeps_thoughts_apart(ollama: Scenarios) -> None:
    said = ollama["reasoning"]
    thoughts = said["additional_kwargs"]["reasoning_content"]
    assert thoughts
    assert said["content"]
    assert thoughts not in said["content"]


@pytest.mark.parametrize("how", ["tool_call", "tool_call_in_a_stream"])
def test_chat_ollama_calls_a_tool(ollama: Scenarios, how: str) -> None:
    said = ollama[how]
    (call,) = said["tool_calls"]
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    assert said["content"] == ""


def test_chat_ollama_reads_what_a_tool_returned(ollama: Scenarios) -> None:
    assert "sunny" in ollama["tool_result"]


def test_chat_ollama_keeps_to_a_schema(ollama: Scenarios) -> None:
    assert 0 <= ollama["structured"] <= 9
    assert 0 <= ollama["structured_by_a_schema"]["count"] <= 9


def test_chat_ollama_finds_out_whether_its_model_is_there(ollama: Scenarios) -> None:
    assert ollama["validated_on_init"] == "demo"
    with pytest.raises(ScenarioError, match="Model `nope` not found in Ollama"):
        ollama["unknown_on_init"]
    with pytest.raises(ScenarioError, match="model 'nope' not found") as caught:
        ollama["unknown_model"]
    assert (caught.value.name, caught.value.status) == ("ResponseError", 404)


@pytest.mark.parametrize("api", ["ollama", "openai"])
def test_embeddings_are_ollama_s_own(server: RunningServer, api: str, request: pytest.FixtureRequest) -> None:
    made: Scenarios = request.getfixturevalue(api)
    wanted = native(server.url).embed("all-minilm", ["one", "two"]).embeddings
    one, two, query = made["embed"]
    again = made["aembed"]
    for vector, expected in zip([one, two, query, *again], [*wanted, wanted[0], *wanted], strict=True):
        assert vector == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
def test_chat_openai_says_what_ollama_s_own_client_is_told(openai: Scenarios, answer: str, how: str) -> None:
    said = openai[how]
    assert said["content"] == answer
    assert said["response_metadata"]["finish_reason"] == "stop"
    usage = said["usage_metadata"]
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]
    assert usage["output_tokens"] > 5


def test_chat_openai_streams_in_parts(openai: Scenarios) -> None:
    assert openai["stream"]["parts"] > 5
    assert openai["astream"]["parts"] > 5


def test_chat_openai_is_cut_at_the_limit_it_sends_as_max_completion_tokens(openai: Scenarios) -> None:
    said = openai["cut"]
    assert said["usage_metadata"]["output_tokens"] == 5
    assert said["response_metadata"]["finish_reason"] == "length"


@pytest.mark.parametrize("how", ["over_responses", "over_responses_in_a_stream"])
def test_chat_openai_says_the_same_over_responses(openai: Scenarios, answer: str, how: str) -> None:
    (part,) = openai[how]["content"]
    assert part["text"] == answer


@pytest.mark.parametrize("how", ["tool_call", "tool_call_in_a_stream", "tool_call_over_responses"])
def test_chat_openai_calls_a_tool(openai: Scenarios, how: str) -> None:
    (call,) = openai[how]["tool_calls"]
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})


def test_chat_openai_calls_the_tool_that_is_required(openai: Scenarios) -> None:
    (call,) = openai["required_tool_call"]["tool_calls"]
    assert call["name"] == "get_weather"


def test_chat_openai_reads_what_a_tool_returned(openai: Scenarios) -> None:
    assert "sunny" in openai["tool_result"]


@pytest.mark.parametrize("how", ["structured_by_a_schema", "structured_by_a_tool"])
def test_chat_openai_keeps_to_a_schema(openai: Scenarios, how: str) -> None:
    assert 0 <= openai[how] <= 9


@pytest.mark.parametrize(
    ("how", "name", "words"),
    [
        ("unknown_model", "OpenAIModelNotFoundError", "model 'nope' not found"),
        ("too_long_prompt", "OpenAIInvalidRequestError", "maximum context length"),
    ],
)
def test_chat_openai_raises_the_class_for_it(openai: Scenarios, how: str, name: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        openai[how]
    assert caught.value.name == name


def test_openai_embeddings_may_be_shorter(openai: Scenarios) -> None:
    vector = openai["embed_shorter"]
    assert len(vector) == 8
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("how", ["agent", "agent_over_the_native_api"])
def test_an_agent_calls_its_tool_and_tells_what_it_said(openai: Scenarios, how: str) -> None:
    steps: list[Any] = openai[how]
    assert [step[0] for step in steps] == SAID_BY_AN_AGENT
    assert steps[1][2] == ["get_weather"]
    assert steps[2][1] == "sunny in Paris"
    assert "sunny" in steps[3][1]


def test_an_agent_streams(openai: Scenarios) -> None:
    parts = openai["agent_in_a_stream"]
    assert sum(1 for part in parts if part) > 3
    assert "sunny" in "".join(parts)
