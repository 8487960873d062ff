"""LiteLLM, unmodified, over all three APIs: tests/clients/litellm/."""

from __future__ import annotations

import json

import client_scenarios
import pytest
from client_scenarios import ScenarioError, Scenarios
from conftest import RunningServer
from wire_clients import native

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]


@pytest.fixture(scope="module")
def litellm(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Scenarios:
    home = tmp_path_factory.mktemp("litellm")
    local = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True"
    }  # else it asks the internet for prices when it is imported
    return client_scenarios.run("litellm", "litellm_scenarios.py", server.url, home, **local)


@pytest.mark.parametrize("how", ["", "_awaited", "_streamed", "_streamed_asynchronously"])
@pytest.mark.parametrize("provider", ["ollama_chat", "openai", "anthropic"])
def test_every_provider_says_what_ollama_s_own_client_is_told(
    server: RunningServer, litellm: Scenarios, provider: str, how: str
) -> None:
    wanted = native(server.url).chat(
        "demo", QUESTION, think=False, options={"temperature": 0, "num_predict": 60}
    )
    said = litellm[provider + how]
    assert said["content"] == wanted.message.content
    assert said["finish_reason"] == "stop"
    assert (said["prompt_tokens"], said["completion_tokens"]) == (wanted.prompt_eval_count, wanted.eval_count)


@pytest.mark.parametrize("provider", ["ollama_chat", "openai", "anthropic"])
def test_every_provider_streams_in_parts(litellm: Scenarios, provider: str) -> None:
    assert litellm[f"{provider}_streamed"]["parts"] > 5
    assert litellm[f"{provider}_streamed_asynchronously"]["parts"] > 5


def test_generate_gets_the_prompt_that_litellm_wrote(litellm: Scenarios) -> None:
    whole = litellm["generate"]
    assert whole["content"]
    assert whole["completion_tokens"] > 5
    assert litellm["generate_awaited"] == whole
    streamed = litellm["generate_streamed"]
    assert streamed.pop("parts") > 5
    assert streamed == whole


@pytest.mark.parametrize("provider", ["ollama_chat", "openai", "anthropic"])
def test_every_provider_calls_a_tool_and_reads_its_result(litellm: Scenarios, provider: str) -> None:
    called = litellm[f"{provider}_tool_call"]
    ((name, arguments),) = called["tool_calls"]
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Paris"})
    assert called["finish_reason"] == "tool_calls"
    assert "sunny" in litellm[f"{provider}_tool_result"]["content"]


@pytest.mark.parametrize("provider", ["ollama_chat", "openai"])
def test_an_answer_has_the_class_that_was_asked_for(litellm: Scenarios, provider: str) -> None:
    assert 0 <= litellm[f"{provider}_structured"] <= 9


@pytest.mark.parametrize("provider", ["generate", "ollama_chat", "openai", "anthropic"])
def test_every_provider_raises_for_an_unknown_model(litellm: Scenarios, provider: str) -> None:
    with pytest.raises(ScenarioError, match="model 'nope' not found") as caught:
        litellm[f"{provider}_unknown_model"]
    assert (caught.value.name, caught.value.status) == ("NotFoundError", 404)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_prompt_that_is_too_long_is_known_as_such(litellm: Scenarios, provider: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        litellm[f"{provider}_too_long_prompt"]
    assert caught.value.name == "ContextWindowExceededError"


@pytest.mark.parametrize("how", ["ollama_embeds", "ollama_embeds_awaited", "openai_embeds"])
def test_embeddings_are_ollama_s_own(server: RunningServer, litellm: Scenarios, how: str) -> None:
    wanted = native(server.url).embed("all-minilm", ["one", "two"]).embeddings
    for vector, expected in zip(litellm[how], wanted, strict=True):
        assert vector == pytest.approx(expected, abs=1e-6)


def test_a_text_is_completed(litellm: Scenarios) -> None:
    assert litellm["openai_text_completion"]
