"""LlamaIndex, unmodified, over both APIs: tests/clients/llamaindex/."""

from __future__ import annotations

import client_scenarios
import pytest
from client_scenarios import ScenarioError, Scenarios
from conftest import RunningServer
from wire_clients import native

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
APIS = ("ollama", "openai")


@pytest.fixture(scope="module")
def llama_index(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Scenarios:
    home = tmp_path_factory.mktemp("llamaindex")
    return client_scenarios.run("llamaindex", "llama_index_scenarios.py", server.url, home)


@pytest.fixture(scope="module")
def answer(server: RunningServer) -> str:
    return client_scenarios.told(server.url, QUESTION)


@pytest.mark.parametrize("how", ["chat", "achat", "complete"])
@pytest.mark.parametrize("api", APIS)
def test_the_answer_is_what_ollama_s_own_client_is_told(
    llama_index: Scenarios, answer: str, api: str, how: str
) -> None:
    assert llama_index[f"{api}_{how}"] == answer


@pytest.mark.parametrize("how", ["stream_chat", "astream_chat", "stream_complete"])
@pytest.mark.parametrize("api", APIS)
def test_the_answer_streams(llama_index: Scenarios, answer: str, api: str, how: str) -> None:
    parts = llama_index[f"{api}_{how}"]
    assert len(parts) > 5
    assert "".join(parts) == answer


def test_the_context_window_is_found_out(llama_index: Scenarios) -> None:
    assert llama_index["ollama_context_window"] == 4096


@pytest.mark.parametrize("api", APIS)
def test_a_tool_is_called(llama_index: Scenarios, api: str) -> None:
    assert llama_index[f"{api}_tool_call"] == [["get_weather", {"city": "Paris"}]]


def test_a_tool_that_is_required_is_called(llama_index: Scenarios) -> None:
    ((name, arguments),) = llama_index["openai_required_tool_call"]
    assert name == "get_weather"
    assert arguments["city"]


@pytest.mark.parametrize("agent", ["agent", "agent_over_openai"])
def test_an_agent_tells_what_its_tool_said(llama_index: Scenarios, agent: str) -> None:
    assert "sunny" in llama_index[agent]


@pytest.mark.parametrize("api", APIS)
def test_an_answer_has_the_class_that_was_asked_for(llama_index: Scenarios, api: str) -> None:
    assert 0 <= llama_index[f"{api}_structured"] <= 9


@pytest.mark.parametrize(("api", "name"), [("ollama", "ResponseError"), ("openai", "NotFoundError")])
def test_an_unknown_model_is_the_client_s_own_error(llama_index: Scenarios, api: str, name: str) -> None:
    with pytest.raises(ScenarioError, match="model 'nope' not found") as caught:
        llama_index[f"{api}_unknown_model"]
    assert (caught.value.name, caught.value.status) == (name, 404)


@pytest.mark.parametrize("how", ["embed", "aembed"])
@pytest.mark.parametrize("api", APIS)
def test_embeddings_are_ollama_s_own(
    server: RunningServer, llama_index: Scenarios, api: str, how: str
) -> None:
    wanted = native(server.url).embed("all-minilm", ["one", "two"]).embeddings
    for vector, expected in zip(llama_index[f"{api}_{how}"], wanted, strict=True):
        assert vector == pytest.approx(expected, abs=1e-6)


def test_an_index_finds_the_text_that_answers(llama_index: Scenarios) -> None:
    assert llama_index["nearest"][0] == "The train to Rome leaves at noon."
