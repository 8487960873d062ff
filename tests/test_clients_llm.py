"""The command `llm` with llm-ollama, unmodified, as a user types it: tests/clients/llm/."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import client_scenarios
import pytest
from conftest import RunningServer
from wire_clients import native

QUESTION = "How do I pull a model?"
GREEDY = ("-o", "temperature", "0", "-o", "num_predict", "60", "-o", "think", "false")
COUNTED = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["count"],
}
WEATHER = """
def get_weather(city: str) -> str:
    "The weather of a city."
    return f"sunny in {city}"
"""
SECONDS = 120

Llm = Callable[..., str]


@pytest.fixture(scope="module")
def llm(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Llm:
    """llm(*arguments): what it printed. All its commands share a user, and so its log of conversations."""
    command = client_scenarios.command_of("llm", "llm")
    home: Path = tmp_path_factory.mktemp("llm")
    own = {"OLLAMA_HOST": server.url, "LLM_USER_PATH": str(home / "llm")}

    def call(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(command), *arguments],
            env=client_scenarios.user_environment(home, **own),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
        )
        assert done.returncode == code, done.stderr[-3000:]
        return done.stdout if code == 0 else done.stderr

    return call


def test_models_are_listed_for_what_they_can_do(llm: Llm) -> None:
    assert "Ollama: ollama/demo:latest (aliases: ollama/demo)" in llm("models")
    assert "all-minilm" not in llm("models", "-q", "ollama")
    embedding = llm("embed-models", "-q", "ollama")
    assert "ollama/all-minilm:latest" in embedding
    assert "demo" not in embedding


def test_capabilities_are_shown(llm: Llm) -> None:
    rows = {line.split()[0]: line for line in llm("ollama", "models").splitlines()[1:]}
    assert "completion, thinking, tools" in rows["demo:latest"]
    assert "embedding" in rows["all-minilm:latest"]


@pytest.mark.parametrize("how", [(), ("--no-stream",), ("--async",)], ids=["streamed", "whole", "async"])
def test_the_answer_is_what_ollama_s_own_client_is_told(
    server: RunningServer, llm: Llm, how: tuple[str, ...]
) -> None:
    options = {"temperature": 0, "num_predict": 60}
    wanted = native(server.url).chat(
        "demo", [{"role": "user", "content": QUESTION}], think=False, options=options
    )
    assert llm("-m", "ollama/demo", *how, *GREEDY, QUESTION).strip() == wanted.message.content


def test_a_conversation_goes_on(llm: Llm) -> None:
    llm("-m", "ollama/demo", *GREEDY, QUESTION)
    (first,) = json.loads(llm("logs", "--json", "-n", "1"))
    assert llm("-c", *GREEDY, "And then?").strip()
    (second,) = json.loads(llm("logs", "--json", "-n", "1"))
    assert second["conversation_id"] == first["conversation_id"]
    assert second["input_tokens"] > first["input_tokens"] > 0


def test_a_function_is_called_and_what_it_returned_is_told(llm: Llm) -> None:
    said = llm("-m", "ollama/demo", *GREEDY, "--functions", WEATHER, "What is the weather in Paris?")
    assert "sunny" in said


def test_an_answer_keeps_to_a_schema(llm: Llm) -> None:
    said = json.loads(llm("-m", "ollama/demo", *GREEDY, "--schema", json.dumps(COUNTED), "hello"))
    assert 0 <= said["count"] <= 9


def test_texts_are_embedded(server: RunningServer, llm: Llm) -> None:
    vector = json.loads(llm("embed", "-m", "ollama/all-minilm", "-c", "one"))
    (wanted,) = native(server.url).embed("all-minilm", "one").embeddings
    assert vector == pytest.approx(wanted, abs=1e-6)


def test_the_nearest_text_of_a_collection_is_found(llm: Llm, tmp_path: Path) -> None:
    texts = {"cat": "Cats sleep most of the day.", "train": "The train to Rome leaves at noon."}
    file = tmp_path / "texts.json"
    file.write_text(
        json.dumps([{"id": name, "text": text} for name, text in texts.items()]), encoding="utf-8"
    )
    llm("embed-multi", "texts", str(file), "-m", "ollama/all-minilm", "--store")
    found = llm("similar", "texts", "-c", "When does my train go?", "-n", "1")
    assert json.loads(found.splitlines()[0])["id"] == "train"


def test_an_unknown_model_is_an_error(llm: Llm) -> None:
    assert "Unknown model: ollama/nope" in llm("-m", "ollama/nope", "hi", code=1)
