"""What our wires send is understood by a real server, and what it answers is read: this server, by each of its APIs."""

from __future__ import annotations

import json
import math
from array import array
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from wire_calls import WEATHER, answer, called, ended, joined, request, said, thought
from wire_clients import TOOL_QUESTIONS, v1

from inference.backends.wires import WIRES
from inference.types import Constraint, EmbedRequest, Message, Sampling, ToolChoice

EVERY = pytest.mark.parametrize("protocol", sorted(WIRES))
SCHEMA = '{"type":"object","properties":{"answer":{"type":"boolean"}},"required":["answer"]}'


def told_by_the_client(url: str, **fields: Any) -> Any:
    """What OpenAI's own client gets for the same question."""
    return v1(url).chat.completions.create(model="demo", temperature=0, reasoning_effort="none", **fields)


@EVERY
def test_text_and_counts_are_what_the_official_client_gets(server: RunningServer, protocol: str) -> None:
    asked = request("How do I pull a model?")
    events = answer(server.url, WIRES[protocol], asked)
    messages = [{"role": "user", "content": "How do I pull a model?"}]
    told = told_by_the_client(server.url, messages=messages)
    assert said(events) == told.choices[0].message.content
    assert (ended(events).prompt_tokens, ended(events).completion_tokens) == (
        told.usage.prompt_tokens,
        told.usage.completion_tokens,
    )
    assert ended(events).reason == "stop"
    assert thought(events) == ""


@EVERY
def test_a_conversation_with_a_system_text_is_carried(server: RunningServer, protocol: str) -> None:
    messages = (
        Message(role="system", content="You are terse."),
        Message(role="user", content="What is this server?"),
        Message(role="assistant", content="It serves models."),
        Message(role="user", content="How do I pull a model?"),
    )
    events = answer(server.url, WIRES[protocol], request(messages=messages))
    wire = [{"role": message.role, "content": message.content} for message in messages]
    told = told_by_the_client(server.url, messages=wire)
    assert said(events) == told.choices[0].message.content
    assert ended(events).prompt_tokens == told.usage.prompt_tokens


@EVERY
def test_thoughts_come_apart(server: RunningServer, protocol: str) -> None:
    events = answer(server.url, WIRES[protocol], request("What is 2 + 2?", think=True))
    assert thought(events)
    assert said(events)
    assert "<think>" not in said(events)


@EVERY
def test_the_limit_ends_an_answer_with_length(server: RunningServer, protocol: str) -> None:
    events = answer(server.url, WIRES[protocol], request(sampling=Sampling(temperature=0.0, max_tokens=3)))
    assert ended(events).reason == "length"
    assert ended(events).completion_tokens == 3


@EVERY
def test_a_stop_string_ends_an_answer(server: RunningServer, protocol: str) -> None:
    whole = said(answer(server.url, WIRES[protocol], request()))
    stop = whole[len(whole) // 2 :][:4]
    events = answer(server.url, WIRES[protocol], request(sampling=Sampling(temperature=0.0, stop=(stop,))))
    assert said(events) == whole[: whole.index(stop)]
    assert ended(events).reason == "stop"


@EVERY
def test_a_tool_is_called_and_its_result_read(server: RunningServer, protocol: str) -> None:
    wire = WIRES[protocol]
    for question in TOOL_QUESTIONS:
        asked = request(question, tools=(WEATHER,))
        if calls := called(answer(server.url, wire, asked)):
            break
    assert calls[0].name == "get_weather"
    assert set(calls[0].arguments) == {"city"}
    assert calls[0].id
    messages = (
        *asked.messages,
        Message(role="assistant", tool_calls=tuple(calls)),
        Message(role="tool", content="sunny", tool_call_id=calls[0].id, tool_name="get_weather"),
    )
    events = answer(server.url, wire, request(messages=messages, tools=(WEATHER,)))
    assert said(events)
    assert ended(events).reason == "stop"


@EVERY
def test_a_format_binds_the_answer(server: RunningServer, protocol: str) -> None:
    asked = request("Is the sky blue?", constraint=Constraint(SCHEMA))
    events = answer(server.url, WIRES[protocol], asked)
    assert type(json.loads(said(events))["answer"]) is bool


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("names", [(), ("get_weather",)])
def test_a_call_can_be_required(server: RunningServer, protocol: str, names: tuple[str, ...]) -> None:
    choice = ToolChoice(required=True, names=names, parallel=False)
    asked = request("Tell me a story.", tools=(WEATHER,), tool_choice=choice)
    (call,) = called(answer(server.url, WIRES[protocol], asked))
    assert call.name == "get_weather"


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_log_probabilities_come_with_the_text(server: RunningServer, protocol: str) -> None:
    events = joined(answer(server.url, WIRES[protocol], request(logprobs=True)))
    told = told_by_the_client(
        server.url, messages=[{"role": "user", "content": "How do I pull a model?"}], logprobs=True
    )
    shown = told.choices[0].logprobs.content
    (text, _) = events
    assert [token.spelled for token in text.tokens] == [bytes(entry.bytes) for entry in shown]  # type: ignore[attr-defined]
    for token, entry in zip(text.tokens, shown, strict=True):  # type: ignore[attr-defined]
        assert math.isclose(token.logprob, entry.logprob, abs_tol=1e-3)


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_vectors_are_the_same_as_the_official_client_gets(server: RunningServer, protocol: str) -> None:
    wire, texts = WIRES[protocol], ("first", "the second one", "")
    call = wire.embed(EmbedRequest(model="m", texts=texts), "all-minilm")
    body = httpx.post(server.url + call.path, content=call.body, headers=wire.headers(""), timeout=60).content
    vectors, tokens = wire.vectors(body)
    told = v1(server.url).embeddings.create(model="all-minilm", input=list(texts))
    assert tokens == told.usage.prompt_tokens
    assert len(vectors) == 3
    for vector, entry in zip(vectors, told.data, strict=True):
        assert array("f", vector) == pytest.approx(array("f", entry.embedding), abs=1e-6)


@EVERY
def test_the_models_are_listed(server: RunningServer, protocol: str) -> None:
    wire = WIRES[protocol]
    reply = httpx.get(server.url + wire.models_path, headers=wire.headers("any"), timeout=30)
    assert reply.status_code == 200, reply.text
    listed = {model.id.removesuffix(":latest"): model for model in wire.models(reply.content)}
    assert "demo" in listed
    if protocol == "ollama":
        assert listed["demo"].parameter_count > 1_000_000
        assert len(listed["demo"].digest) == 64
        assert "completion" in listed["demo"].capabilities
        assert listed["all-minilm"].capabilities == {"embedding"}


@EVERY
def test_the_words_of_a_refusal_are_read(server: RunningServer, protocol: str) -> None:
    wire = WIRES[protocol]
    call = wire.chat(request(), "no-such-model")
    reply = httpx.post(server.url + call.path, content=call.body, headers=wire.headers("any"), timeout=30)
    assert reply.status_code == 404
    assert "no-such-model" in wire.refusal(reply.content)
    assert "{" not in wire.refusal(reply.content)


def test_a_raw_prompt_goes_as_it_stands(server: RunningServer) -> None:
    asked = request("How do I pull", raw=True, sampling=Sampling(temperature=0.0, max_tokens=8))
    events = answer(server.url, WIRES["ollama"], asked)
    body = {"model": "demo", "prompt": "How do I pull", "raw": True, "stream": False}
    told = httpx.post(
        f"{server.url}/api/generate",
        json=body | {"options": {"temperature": 0, "num_predict": 8}},
        timeout=60,
    ).json()
    assert said(events) == told["response"]
    assert ended(events).prompt_tokens == told["prompt_eval_count"]
