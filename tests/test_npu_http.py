"""What the fixed shapes of an NPU mean to a client: exact limits of the prompt, none of what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conftest import NPU_CONTEXT, NPU_PROMPT, RunningServer

TOOL = {
    "name": "weather",
    "description": "The weather of a place, now.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
ANTHROPIC_TOOL = {
    "name": TOOL["name"],
    "description": TOOL["description"],
    "input_schema": TOOL["parameters"],
}
Body = Callable[[str], dict[str, Any]]


def generate(text: str) -> dict[str, Any]:
    return {"model": "demo", "prompt": text, "stream": False, "think": False, "options": {"num_predict": 1}}


def chat(text: str) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "Antworte kurz."},
        {"role": "user", "content": "Grüezi!"},
        {"role": "assistant", "content": "Guten Tag."},
        {"role": "user", "content": text},
    ]
    options = {"num_predict": 1}
    return {"model": "demo", "messages": messages, "stream": False, "think": False, "options": options}


def chat_with_tools(text: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": TOOL}]
    messages = [{"role": "user", "content": text}]
    return {"model": "demo", "messages": messages, "tools": tools, "max_tokens": 1}


def messages_with_tools(text: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "demo", "messages": messages, "tools": [ANTHROPIC_TOOL], "max_tokens": 1}


def raw(text: str) -> dict[str, Any]:
    return {**generate(text), "raw": True}


def post(server: RunningServer, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, headers=headers, timeout=120)


def tokens(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    return int(answer.headers["X-NPU-Proxy-Token-Count"])


def fitted(server: RunningServer, path: str, body: Body, text: str, wanted: int) -> str:
    """`text` with so much behind it that the whole prompt has exactly this many tokens."""
    for _ in range(20):
        missing = wanted - tokens(post(server, path, body(text), **{"X-Target-Backend": "CPU"}))
        if not missing:
            return text
        assert missing > 0, "the text alone is too long"
        text += " a" * missing if missing < 3 else " a" * (missing // 2)
    pytest.fail("no such text was found")


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/api/generate", raw, "The lake"),
        ("/api/generate", generate, "Wie komme ich von Zürich nach Genf?"),
        ("/api/chat", chat, "今日の天気はどうですか。"),
        ("/v1/chat/completions", chat_with_tools, "Какая сегодня погода?"),
        ("/v1/messages", messages_with_tools, "ما هو الطقس اليوم؟ 🎉"),
    ],
    ids=["raw", "german", "japanese", "russian with tools", "arabic with tools"],
)
def test_a_prompt_of_exactly_the_limit_runs_on_the_npu_and_one_token_more_does_not(
    npu_server: RunningServer, path: str, body: Body, text: str
) -> None:
    exact = fitted(npu_server, path, body, text, NPU_PROMPT)
    answer = post(npu_server, path, body(exact))
    assert tokens(answer) == NPU_PROMPT
    assert answer.headers["X-NPU-Proxy-Device"] == "NPU (emulated)"
    assert answer.headers["X-NPU-Proxy-Route-Reason"] == "within_npu_limit"
    answer = post(npu_server, path, body(exact + " a"))
    assert tokens(answer) == NPU_PROMPT + 1
    assert answer.headers["X-NPU-Proxy-Device"] == "CPU"
    assert answer.headers["X-NPU-Proxy-Route-Reason"] == "prompt_exceeds_npu_limit"
    assert answer.headers["X-NPU-Proxy-Fallback-Reason"] == "prompt_exceeds_npu_limit"


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/api/generate", {"prompt": "hi", "options": {"num_predict": 32000, "temperature": 0}}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 32000}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 32000}),
    ],
)
def test_wished_output_never_keeps_a_prompt_from_the_npu(
    npu_server: RunningServer, path: str, wish: dict[str, Any]
) -> None:
    answer = post(npu_server, path, {"model": "demo", "stream": False, **wish})
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-NPU-Proxy-Device"] == "NPU (emulated)"


def test_an_answer_that_fills_the_kv_cache_ends_with_length(npu_server: RunningServer) -> None:
    """The pipeline itself stops without a word."""
    digits = {
        "type": "array",
        "items": {"enum": ["0123456789012345678901234567890123456789"]},
        "minItems": 200,
    }
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "count"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "digits", "schema": digits}},
        "max_tokens": 32000,
    }
    on_npu = {"X-Target-Backend": "NPU", "X-Target-Strict": "true"}
    answer = post(npu_server, "/v1/chat/completions", body, **on_npu)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-NPU-Proxy-Device"] == "NPU (emulated)"
    whole = answer.json()
    assert whole["choices"][0]["finish_reason"] == "length"
    assert NPU_CONTEXT - 2 <= whole["usage"]["total_tokens"] <= NPU_CONTEXT


def test_a_target_that_is_strict_and_too_small_is_told_with_both_numbers(npu_server: RunningServer) -> None:
    on_npu = {"X-Target-Backend": "NPU", "X-Target-Strict": "true"}
    answer = post(npu_server, "/api/generate", generate("a " * 400), **on_npu)
    assert answer.status_code == 400
    assert f"the context holds {NPU_PROMPT + 1}" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (
            "/api/generate",
            generate,
            "the input length exceeds the context length: the prompt has {} tokens, the context holds {}",
        ),
        (
            "/v1/chat/completions",
            chat_with_tools,
            "maximum context length is {1} tokens. However, your messages resulted in {0} tokens",
        ),
        ("/v1/messages", messages_with_tools, "prompt is too long: {} tokens > {} maximum"),
    ],
)
def test_a_prompt_that_fits_nowhere_is_refused_with_the_numbers_of_the_roomiest_device(
    npu_server: RunningServer, path: str, body: Body, words: str
) -> None:
    exact = fitted(npu_server, path, body, "hello", NPU_CONTEXT - 1)
    fits = post(npu_server, path, body(exact))
    assert tokens(fits) == NPU_CONTEXT - 1
    assert fits.headers["X-NPU-Proxy-Device"] == "CPU"
    answer = post(npu_server, path, body(exact + " a"))
    assert answer.status_code == 400
    found = answer.json()["error"]
    message = found if isinstance(found, str) else found["message"]
    assert words.format(NPU_CONTEXT, NPU_CONTEXT) in message
    assert f"longest prompt by device: NPU: {NPU_PROMPT}, CPU: {NPU_CONTEXT - 1} tokens" in message
