"""/v1/completions with `max_tokens: 0`: the prompt alone comes back, counted, and nothing is generated."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from wire_clients import v1

PROMPT = "How do I pull a model?"


def ask(server: RunningServer, **fields: Any) -> httpx.Response:
    body = {"model": "demo", "prompt": PROMPT, "max_tokens": 0} | fields
    return httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)


def ids_of(server: RunningServer, text: str) -> list[int]:
    body = {"model": "demo", "prompt": text}
    found: list[int] = httpx.post(f"{server.url}/v1/tokenize", json=body, timeout=60).json()["tokens"]
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [False, True])
def test_the_client_gets_the_prompt_or_nothing(server: RunningServer, echo: bool, stream: bool) -> None:
    create = v1(server.url).completions.create
    fields: dict[str, Any] = {"model": "demo", "prompt": PROMPT, "max_tokens": 0, "echo": echo}
    if stream:
        *parts, last = create(stream=True, stream_options={"include_usage": True}, **fields)
        text = "".join(part.choices[0].text for part in parts)
        reasons, usage = [part.choices[0].finish_reason for part in parts], last.usage
    else:
        whole = create(**fields)
        text, reasons, usage = whole.choices[0].text, [whole.choices[0].finish_reason], whole.usage
    assert text == (PROMPT if echo else "")
    assert reasons == ["length"]
    assert usage is not None
    one = ask(server, max_tokens=1).json()["usage"]
    assert (usage.prompt_tokens, usage.completion_tokens) == (one["prompt_tokens"], 0)


def test_several_prompts_and_choices_have_one_each(server: RunningServer) -> None:
    answer = ask(server, prompt=["one", "two"], n=2, echo=True).json()
    assert [choice["text"] for choice in answer["choices"]] == ["one", "one", "two", "two"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["completion_tokens"] == 0
    stream = ask(server, prompt=["one", "two"], echo=True, stream=True).text
    *chunks, done = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
    assert done == "[DONE]"
    assert [json.loads(chunk)["choices"][0]["text"] for chunk in chunks] == ["one", "two"]


def test_token_ids_are_counted_as_they_are_and_checked(server: RunningServer) -> None:
    ids = ids_of(server, PROMPT)
    answer = ask(server, prompt=ids, echo=True).json()
    assert answer["choices"][0]["text"] == PROMPT
    assert answer["usage"]["prompt_tokens"] == len(ids)
    for echo in (False, True):
        assert ask(server, prompt=[10**9], echo=echo).status_code == 400


def test_a_prompt_that_fits_nowhere_is_refused_all_the_same(server: RunningServer) -> None:
    answer = ask(server, prompt="model " * 6000)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_a_negative_limit_is_still_none(server: RunningServer) -> None:
    assert ask(server, max_tokens=-1, temperature=0).json()["usage"]["completion_tokens"] > 1
