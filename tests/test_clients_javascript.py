"""Ollama's official JavaScript client, unmodified, against a real server and a real hub."""

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
GREEDY = {"temperature": 0, "num_predict": 24}
LONG = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": 6, "num_predict": 3000}
"""As likely to end at a token as to say any other of two thousand: it is left before."""
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def ollama(hub_server: RunningServer) -> Iterator[JavaScriptClient]:
    with javascript_clients.running("ollama", hub_server.url) as client:
        yield client


def names(ollama: JavaScriptClient) -> set[str]:
    return {model["name"] for model in ollama.call("list")["models"]}


def length(vector: list[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def test_ollama_knows_the_version_and_the_models(ollama: JavaScriptClient) -> None:
    assert ollama.call("version")["version"].count(".") == 2
    assert {"demo:latest", "all-minilm:latest"} <= names(ollama)
    shown = ollama.call("show", {"model": "demo"})
    assert shown["model_info"]["general.architecture"] == "qwen3"
    assert "completion" in shown["capabilities"]


def test_ollama_sees_what_is_loaded(ollama: JavaScriptClient) -> None:
    ollama.call("generate", {"model": "demo", "prompt": "", "keep_alive": "10m"})
    loaded = {model["name"]: model for model in ollama.call("ps")["models"]}
    assert loaded["demo:latest"]["size"] > 1_000_000


def test_ollama_generates_whole_and_in_parts(ollama: JavaScriptClient) -> None:
    wish = {"model": "demo", "prompt": "How do I pull a model?", "think": False, "options": GREEDY}
    whole = ollama.call("generate", wish)
    parts = ollama.stream("generate", wish | {"stream": True})
    assert whole["response"]
    assert "".join(part["response"] for part in parts) == whole["response"]
    assert [part["done"] for part in parts[-2:]] == [False, True]
    assert parts[-1]["eval_count"] == whole["eval_count"] > 0


def test_ollama_chats_in_parts(ollama: JavaScriptClient) -> None:
    wish = {"model": "demo", "messages": QUESTION, "think": False, "options": GREEDY, "stream": True}
    parts = ollama.stream("chat", wish)
    assert len(parts) > 5
    assert {part["message"]["role"] for part in parts} == {"assistant"}
    assert "".join(part["message"]["content"] for part in parts)


def test_ollama_answers_the_next_request_after_one_that_was_aborted(ollama: JavaScriptClient) -> None:
    wish = {"model": "demo", "messages": QUESTION, "think": False, "options": LONG, "stream": True}
    with pytest.raises(ClientError) as caught:
        ollama.stream("chat", wish, leave_after=3)
    assert "abort" in caught.value.message.lower()
    after = ollama.call("chat", {"model": "demo", "messages": QUESTION, "think": False, "options": GREEDY})
    assert after["message"]["content"]
    assert after["done"]


def test_ollama_gets_tool_calls_with_arguments_as_an_object(ollama: JavaScriptClient) -> None:
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    said = ollama.call(
        "chat",
        {
            "model": "demo",
            "messages": messages,
            "tools": [WEATHER],
            "think": False,
            "options": {"temperature": 0},
        },
    )
    (called,) = said["message"]["tool_calls"]
    assert called["function"]["name"] == "get_weather"
    assert isinstance(called["function"]["arguments"]["city"], str)


def test_ollama_gets_an_answer_of_the_schema_it_gave(ollama: JavaScriptClient) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["count"],
    }
    wish = {"model": "demo", "messages": QUESTION, "think": False, "options": GREEDY, "format": schema}
    assert 0 <= json.loads(ollama.call("chat", wish)["message"]["content"])["count"] <= 9


def test_ollama_embeds(ollama: JavaScriptClient) -> None:
    made = ollama.call("embed", {"model": "all-minilm", "input": ["one", "two"]})
    assert [len(vector) for vector in made["embeddings"]] == [384, 384]
    assert length(made["embeddings"][0]) == pytest.approx(1, abs=1e-3)


def test_ollama_pulls_with_progress_then_removes(ollama: JavaScriptClient, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/js-pulled")
    parts = ollama.stream("pull", {"model": "tiny/js-pulled", "stream": True})
    assert parts[0] == {"status": "pulling manifest"}
    assert parts[-1] == {"status": "success"}
    layers = [part for part in parts if "digest" in part]
    assert layers
    ends = {part["digest"]: part for part in layers}.values()
    assert all(part["completed"] == part["total"] for part in ends)
    assert "tiny/js-pulled:latest" in names(ollama)
    said = ollama.call("generate", {"model": "tiny/js-pulled", "prompt": "Hi", "options": GREEDY})
    assert said["eval_count"] > 0
    assert ollama.call("delete", {"model": "tiny/js-pulled"}) == {"status": "success"}
    assert "tiny/js-pulled:latest" not in names(ollama)


def test_ollama_pulls_without_a_stream(ollama: JavaScriptClient, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/js-whole")
    assert ollama.call("pull", {"model": "tiny/js-whole"}) == {"status": "success"}
    ollama.call("delete", {"model": "tiny/js-whole"})


def test_ollama_joins_the_pull_that_it_aborted(ollama: JavaScriptClient, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/js-left")
    with pytest.raises(ClientError) as caught:
        ollama.stream("pull", {"model": "tiny/js-left", "stream": True}, leave_after=1)
    assert "abort" in caught.value.message.lower()
    assert ollama.call("pull", {"model": "tiny/js-left"}) == {"status": "success"}
    assert "tiny/js-left:latest" in names(ollama)
    ollama.call("delete", {"model": "tiny/js-left"})


def test_ollama_throws_what_the_hub_does_not_have(ollama: JavaScriptClient, hub: Hub) -> None:
    with pytest.raises(ClientError, match="pull model manifest: file does not exist"):
        ollama.stream("pull", {"model": "tiny/nowhere", "stream": True})
    with pytest.raises(ClientError) as caught:
        ollama.call("pull", {"model": "tiny/nowhere"})
    assert (caught.value.name, caught.value.status) == ("ResponseError", 500)


def test_ollama_creates_copies_and_deletes(ollama: JavaScriptClient) -> None:
    recipe = {
        "model": "js-pirate",
        "from": "demo",
        "system": "You are a pirate.",
        "parameters": {"temperature": 0.25, "stop": ["Arr"]},
        "stream": True,
    }
    said = [part["status"] for part in ollama.stream("create", recipe)]
    assert said[-2:] == ["writing manifest", "success"]
    shown = ollama.call("show", {"model": "js-pirate"})
    assert shown["system"] == "You are a pirate."
    assert "temperature" in shown["parameters"]
    assert shown["details"]["parent_model"] == "demo:latest"
    assert ollama.call("copy", {"source": "js-pirate", "destination": "js-parrot"}) == {"status": "success"}
    assert ollama.call("show", {"model": "js-parrot"})["system"] == "You are a pirate."
    ollama.call("delete", {"model": "js-pirate"})
    assert {"js-parrot:latest"} == {name for name in names(ollama) if name.startswith("js-")}
    answer = ollama.call("chat", {"model": "js-parrot", "messages": QUESTION, "options": GREEDY})
    assert answer["model"] == "js-parrot"
    ollama.call("delete", {"model": "js-parrot"})


@pytest.mark.parametrize(
    ("name", "wish", "words"),
    [
        ("show", {"model": "nope"}, "model 'nope:latest' not found"),
        ("delete", {"model": "nope"}, "model 'nope' not found"),
        ("copy", {"source": "nope", "destination": "js-x"}, 'model "nope" not found'),
        ("chat", {"model": "nope", "messages": QUESTION}, "model 'nope' not found"),
    ],
)
def test_ollama_throws_for_an_unknown_model(
    ollama: JavaScriptClient, name: str, wish: dict[str, object], words: str
) -> None:
    with pytest.raises(ClientError) as caught:
        ollama.call(name, wish)
    assert (caught.value.name, caught.value.status, caught.value.message) == ("ResponseError", 404, words)
