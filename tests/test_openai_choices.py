"""Several answers to one request, and /v1/completions, with OpenAI's own client against the real server."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import httpx
import openai
import pytest
from conftest import RunningServer
from test_consumer_requests import LONG, connection, line_of, request_bytes
from wire_clients import v1

QUESTION: Any = [{"role": "user", "content": "How do I pull a model?"}]
PROMPT = "How do I pull a model?"


def chat(server: RunningServer, **fields: Any) -> Any:
    given: Any = {
        "model": "demo",
        "messages": QUESTION,
        "reasoning_effort": "none",
        "max_tokens": 30,
    } | fields
    return v1(server.url).chat.completions.create(**given)


def complete(server: RunningServer, **fields: Any) -> Any:
    given: Any = {"model": "demo", "prompt": PROMPT, "max_tokens": 30, "temperature": 0} | fields
    return v1(server.url).completions.create(**given)


def test_choices_are_numbered_differ_and_come_again_with_the_seed(server: RunningServer) -> None:
    answer = chat(server, n=4, seed=5, temperature=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) > 1
    again = chat(server, n=4, seed=5, temperature=2)
    assert [choice.message.content for choice in again.choices] == texts
    alone = chat(server, seed=6, temperature=2)
    assert alone.choices[0].message.content == texts[1]
    assert answer.usage.prompt_tokens == alone.usage.prompt_tokens
    assert answer.usage.completion_tokens > alone.usage.completion_tokens


def test_choices_stream_at_the_same_time_and_end_once(server: RunningServer) -> None:
    chunks = list(chat(server, n=3, temperature=0, stream=True, stream_options={"include_usage": True}))
    *chunks, last = chunks
    assert last.choices == []
    texts: dict[int, str] = defaultdict(str)
    ends = []
    for chunk in chunks:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ends.append(choice.index)
    assert sorted(ends) == [0, 1, 2]
    whole = chat(server, temperature=0)
    assert set(texts.values()) == {whole.choices[0].message.content}
    assert last.usage.completion_tokens == 3 * whole.usage.completion_tokens
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens
    order = [chunk.choices[0].index for chunk in chunks]
    assert order != sorted(order), "the answers were to come side by side"


def test_who_leaves_several_answers_ends_them_all(server: RunningServer) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "long", "schema": LONG}}
    body = {
        "model": "demo",
        "messages": QUESTION,
        "n": 3,
        "stream": True,
        "response_format": schema,
        "reasoning_effort": "none",
    }
    with connection(server) as sock:
        sock.sendall(request_bytes("/v1/chat/completions", body, **{"X-Request-ID": "several"}))
        received = b""
        while received.count(b"data: ") < 9:
            received += sock.recv(65536)
    assert "status=499" in line_of(server, "several")
    assert chat(server).choices[0].message.content


def test_a_completion_is_a_text(server: RunningServer) -> None:
    answer = complete(server)
    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    (choice,) = answer.choices
    assert choice.text
    assert choice.finish_reason in ("stop", "length")
    assert complete(server, echo=True).choices[0].text == PROMPT + choice.text
    chunks = list(complete(server, stream=True, echo=True))
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert "".join(chunk.choices[0].text for chunk in chunks) == PROMPT + choice.text
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == choice.finish_reason


def test_each_prompt_has_its_choices(server: RunningServer) -> None:
    prompts = [PROMPT, "Which devices are there?"]
    answer = complete(server, prompt=prompts, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    alone = [complete(server, prompt=prompt) for prompt in prompts]
    texts = [one.choices[0].text for one in alone]
    assert [choice.text for choice in answer.choices] == [texts[0], texts[0], texts[1], texts[1]]
    assert answer.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in alone)


def test_a_prompt_may_be_token_ids(server: RunningServer) -> None:
    """They are all that the model gets: what a template rendered is answered as the turn itself is."""
    asked = {"model": "demo", "messages": QUESTION, "reasoning_effort": "none"}
    ids = httpx.post(f"{server.url}/v1/tokenize", json=asked, timeout=60).json()["tokens"]
    given = {"model": "demo", "tokens": ids}
    text = httpx.post(f"{server.url}/v1/detokenize", json=given, timeout=60).json()["prompt"]
    told = complete(server)
    same = complete(server, prompt=ids, best_of=1)
    assert same.choices[0].text == told.choices[0].text != ""
    assert same.usage == told.usage
    assert complete(server, prompt=ids, echo=True).choices[0].text == text + told.choices[0].text
    chunks = complete(server, prompt=ids, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == text + told.choices[0].text
    several = complete(server, prompt=[ids, ids[:-3]], n=2, best_of=2, echo=True)
    starts = [choice.text.startswith(text) for choice in several.choices]
    assert starts == [True, True, False, False]
    assert several.choices[1].text == text + told.choices[0].text
    assert several.usage.prompt_tokens == 2 * len(ids) - 3


def test_the_stream_of_completions_ends_with_done(server: RunningServer) -> None:
    body = {"model": "demo", "prompt": [PROMPT, "Hello"], "stream": True, "max_tokens": 3}
    answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)
    *parts, rest = answer.text.split("\n\n")
    assert rest == ""
    assert parts[-1] == "data: [DONE]"
    assert answer.text.count("[DONE]") == 1
    ends = [json.loads(part.removeprefix("data: "))["choices"][0] for part in parts[:-1]]
    assert sorted(end["index"] for end in ends if end["finish_reason"] == "length") == [0, 1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": None}, '"prompt": give a text'),
        ({"prompt": []}, '"prompt": give a text'),
        ({"prompt": [[]]}, '"prompt": give a text'),
        ({"prompt": [1, "x"]}, '"prompt": give a text'),
        ({"prompt": [True]}, '"prompt": give a text'),
        ({"prompt": [3, 2560]}, r"prompt\[1\]: 2560 is no token of this model; its ids go from 0 to 2559"),
        ({"prompt": [[3] * 600_000] * 2, "echo": True}, "1200000 token ids; at most 1000000 are taken"),
        ({"prompt": [3, -1], "echo": True}, r"prompt\[1\]: -1 is no token of this model"),
        ({"prompt": [[3], [2**40]], "n": 2}, r"prompt\[0\]: 1099511627776 is no token of this model"),
        ({"prompt": [1, 2], "suffix": "x"}, "goes with a prompt that is a text"),
        ({"suffix": "x"}, "demo:latest does not support insert"),
        ({"prompt": ["x"] * 17, "n": 2}, "from 1 to 32 in all are given"),
        ({"logprobs": 2}, "send 0 for the chosen one's log probability"),
        ({"logprobs": 6}, "logprobs must be between 0 and 5"),
        ({"logprobs": 0, "echo": True}, "leave out echo or logprobs"),
        ({"best_of": 3}, "answers are not ranked here"),
        ({"best_of": 1, "n": 2}, "answers are not ranked here"),
    ],
)
def test_a_fault_is_named(server: RunningServer, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        complete(server, **fields)


def test_one_failure_ends_all_choices(server: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError, match="context length"):
        complete(server, prompt=["short", "word " * 6000], max_tokens=5)
