"""`context` of /api/generate: the ids of prompt and answer go out, and come back before the next prompt."""

from __future__ import annotations

from typing import Any

import httpx
import ollama
import pytest
from conftest import RunningServer
from modelfiles import create, delete
from wire_clients import native

PROMPT, NEXT = "How do I pull a model?", "And how do I remove it?"
GREEDY = {"temperature": 0, "num_predict": 30}


def tokens(server: RunningServer, *messages: tuple[str, str], model: str = "demo") -> list[int]:
    """As the template renders the messages."""
    turns = [{"role": role, "content": content} for role, content in messages]
    asked = {"model": model, "messages": turns, "reasoning_effort": "none"}
    answer = httpx.post(f"{server.url}/v1/tokenize", json=asked, timeout=60)
    found: list[int] = answer.json()["tokens"]
    return found


def text_of(server: RunningServer, ids: list[int]) -> str:
    answer = httpx.post(f"{server.url}/v1/detokenize", json={"model": "demo", "tokens": ids}, timeout=60)
    return str(answer.json()["prompt"])


def generate(server: RunningServer, prompt: str, **fields: Any) -> ollama.GenerateResponse:
    wish: dict[str, Any] = {"model": "demo", "think": False, "options": GREEDY} | fields
    answer: ollama.GenerateResponse = native(server.url).generate(prompt=prompt, **wish)
    return answer


def test_a_conversation_goes_on_by_context(server: RunningServer) -> None:
    """Every turn's ids begin with all of the turn before, and then come the new question's."""
    first = generate(server, PROMPT)
    assert first.context is not None
    ids = list(first.context)
    asked = tokens(server, ("user", PROMPT))
    assert ids[: first.prompt_eval_count] == asked
    assert text_of(server, ids[len(asked) :]).removesuffix("<|im_end|>") == first.response
    second = generate(server, NEXT, context=ids)
    assert second.context is not None
    following = tokens(server, ("user", NEXT))
    assert list(second.context[: second.prompt_eval_count]) == ids + following
    assert second.prompt_eval_count == len(ids) + len(following)
    third = generate(server, "Thanks.", context=list(second.context))
    assert third.context is not None
    assert list(third.context[: len(second.context)]) == list(second.context)


def test_the_model_reads_the_context(server: RunningServer) -> None:
    """The same ids, given as a raw prompt, are answered the same."""
    first = generate(server, PROMPT)
    second = generate(server, "Why?", context=first.context)
    assert first.context is not None
    whole = text_of(server, list(first.context) + tokens(server, ("user", "Why?")))
    raw = generate(server, whole, raw=True)
    assert second.response == raw.response != generate(server, "Why?").response


def test_a_stream_has_the_context_in_its_last_object_only(server: RunningServer) -> None:
    parts = list(native(server.url).generate("demo", PROMPT, think=False, options=GREEDY, stream=True))
    assert [part.context for part in parts[:-1]] == [None] * (len(parts) - 1)
    assert parts[-1].context == generate(server, PROMPT).context


def test_raw_prompts_and_loads_have_none(server: RunningServer) -> None:
    assert generate(server, PROMPT, raw=True).context is None
    assert native(server.url).generate("demo").context is None
    with pytest.raises(ollama.ResponseError, match="raw mode does not support template, system, or context"):
        generate(server, PROMPT, raw=True, context=[1])


def test_what_the_model_itself_says_first_is_said_once(server: RunningServer) -> None:
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    create(server, model="shown-said", **{"from": "demo"}, system="Be brief.", messages=said)
    try:
        first = generate(server, PROMPT, model="shown-said")
        assert first.context is not None
        own = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"))
        assert list(first.context[: first.prompt_eval_count]) == tokens(server, *own, ("user", PROMPT))
        second = generate(server, NEXT, model="shown-said", context=first.context)
        assert second.context is not None
        behind = second.context[len(first.context) : second.prompt_eval_count]
        assert list(behind) == tokens(server, ("user", NEXT))
        wished = generate(server, NEXT, model="shown-said", context=first.context, system="Be loud.")
        assert wished.context is not None
        behind = wished.context[len(first.context) : wished.prompt_eval_count]
        assert list(behind) == tokens(server, ("system", "Be loud."), ("user", NEXT))
    finally:
        delete(server, "shown-said")


def test_a_stop_string_is_not_in_the_context(server: RunningServer) -> None:
    whole = generate(server, PROMPT).response or ""
    stop = whole[len(whole) // 2 :][:7]
    cut = generate(server, PROMPT, options={**GREEDY, "stop": [stop]})
    assert cut.context is not None
    assert cut.response == whole[: whole.index(stop)]
    assert text_of(server, list(cut.context[cut.prompt_eval_count :])) == cut.response


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ([1, 2, 2560], "context[2]: 2560 is no token of this model; its ids go from 0 to 2559"),
        ([-1], "context[0]: -1 is no token of this model"),
        ([300] * 1_000_001, '"context": 1000001 token ids; at most 1000000 are taken'),
        ([1.5], "GenerateRequest.context"),
        (["1"], "GenerateRequest.context"),
        ("1", "GenerateRequest.context"),
    ],
)
def test_what_is_no_token_is_named(server: RunningServer, context: Any, words: str) -> None:
    body = {"model": "demo", "prompt": PROMPT, "context": context}
    answer = httpx.post(f"{server.url}/api/generate", json=body, timeout=60)
    assert (answer.status_code, words in answer.json()["error"]) == (400, True), answer.text


def test_a_context_over_the_limit_is_refused_with_both_numbers(server: RunningServer) -> None:
    asked = len(tokens(server, ("user", PROMPT)))
    limit = {"num_ctx": 100, "num_predict": 1}
    fits = generate(server, PROMPT, context=[300] * (99 - asked), options=limit)
    assert fits.prompt_eval_count == 99
    with pytest.raises(ollama.ResponseError, match="the prompt has 100 tokens, the context holds 100"):
        generate(server, PROMPT, context=[300] * (100 - asked), options=limit)
    with pytest.raises(ollama.ResponseError, match="the prompt has 500"):
        generate(server, PROMPT, context=[300] * 50_000, options=limit)
