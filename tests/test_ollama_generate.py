"""POST /api/generate against the real server: prompts, and requests that only load or unload."""

from __future__ import annotations

from typing import Any

import httpx
from conftest import RunningServer
from wire_clients import native

PROMPT = "How do I pull a model?"
GREEDY = {"temperature": 0}


def test_the_client_gets_a_whole_and_a_streamed_answer(server: RunningServer) -> None:
    client = native(server.url)
    whole = client.generate("demo", PROMPT, think=False, options=GREEDY)
    assert whole.response
    assert whole.done_reason == "stop"
    parts = list(client.generate("demo", PROMPT, think=False, options=GREEDY, stream=True))
    assert "".join(part.response or "" for part in parts) == whole.response
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_prompt_is_the_chat_of_one_user_turn(server: RunningServer) -> None:
    client = native(server.url)
    answer = client.generate("demo", PROMPT, think=False, system="Be brief.", options=GREEDY)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]
    chat = client.chat("demo", messages, think=False, options=GREEDY)
    assert answer.response == chat.message.content
    assert answer.prompt_eval_count == chat.prompt_eval_count


def test_the_prompt_count_is_the_same_when_the_prefix_is_cached(server: RunningServer) -> None:
    client = native(server.url)
    counts = [client.generate("demo", PROMPT, think=False, options=GREEDY).prompt_eval_count for _ in "ab"]
    assert counts[0] == counts[1]


def test_thinking_has_a_field_of_its_own(server: RunningServer) -> None:
    answer = native(server.url).generate("demo", PROMPT, think=True, options=GREEDY)
    assert answer.thinking
    assert "</think>" not in (answer.response or "")


def test_without_a_prompt_the_model_is_loaded_and_stays_as_long_as_asked(server: RunningServer) -> None:
    client = native(server.url)
    loaded = httpx.post(f"{server.url}/api/generate", json={"model": "demo", "keep_alive": -1}, timeout=60)
    assert loaded.headers["content-type"] == "application/json; charset=utf-8"
    assert {key: value for key, value in loaded.json().items() if key != "created_at"} == {
        "model": "demo",
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    entry = next(entry for entry in client.ps().models if entry.model == "demo:latest")
    assert entry.expires_at is not None
    assert entry.expires_at.year > 2300


def test_the_go_client_s_zero_unloads(server: RunningServer) -> None:
    """`ollama stop demo` sends every field, most of them empty, and "0s"."""
    body = {
        "model": "demo", "prompt": "", "suffix": "", "system": "", "template": "", "keep_alive": "0s",
        "options": None, "context": None, "images": None,
    }  # fmt: skip
    for _ in range(2):  # it is no error when nothing is loaded
        answer = httpx.post(f"{server.url}/api/generate", json=body, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["done_reason"] == "unload"
    assert "demo:latest" not in [entry.model for entry in native(server.url).ps().models]


def test_keep_alive_zero_on_a_prompt_unloads_after_the_answer(server: RunningServer) -> None:
    client = native(server.url)
    assert client.generate("demo", PROMPT, think=False, options={"num_predict": 2}, keep_alive=0).response
    assert "demo:latest" not in [entry.model for entry in client.ps().models]


def test_a_raw_prompt_goes_to_the_model_as_it_stands(server: RunningServer) -> None:
    """The template's own text, given as a raw prompt, is the same question."""
    turns = [{"role": "user", "content": PROMPT}]
    asked = {"model": "demo", "messages": turns, "reasoning_effort": "none"}
    tokens = httpx.post(f"{server.url}/v1/tokenize", json=asked, timeout=60).json()["tokens"]
    given = {"model": "demo", "tokens": tokens}
    text = httpx.post(f"{server.url}/v1/detokenize", json=given, timeout=60).json()["prompt"]
    assert "<|im_start|>" in text

    def ask(prompt: str, **fields: Any) -> dict[str, Any]:
        body = {"model": "demo", "prompt": prompt, "stream": False, "options": {"temperature": 0}} | fields
        found: dict[str, Any] = httpx.post(f"{server.url}/api/generate", json=body, timeout=60).json()
        return found

    usual, raw = ask(PROMPT, think=False), ask(text, raw=True)
    assert raw["response"] == usual["response"] != ""
    assert raw["prompt_eval_count"] == usual["prompt_eval_count"] == len(tokens)
    opened = ask(text.partition("<think>")[0] + "<think>\n", raw=True, options={"num_predict": 400})
    assert "thinking" not in opened
    assert (
        ask(text, raw=True, system="x")["error"] == "raw mode does not support template, system, or context"
    )
