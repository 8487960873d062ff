"""/v1/tokenize and /v1/detokenize against the real server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from conftest import RunningServer

TEXT = "Grüße, 你好 <|im_end|> 😀"


def post(server: RunningServer, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/{path}", json={"model": "demo"} | body, timeout=60)


def test_a_text_goes_to_tokens_and_back(server: RunningServer) -> None:
    answer = post(server, "tokenize", prompt=TEXT, return_token_strs=True).json()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"]) > 5
    assert answer["max_model_len"] == 4096
    assert "<|im_end|>" in answer["token_strs"]
    assert post(server, "detokenize", tokens=answer["tokens"]).json() == {"prompt": TEXT}
    assert post(server, "tokenize", prompt="").json()["tokens"] == []


def test_messages_are_counted_as_a_chat_has_them(server: RunningServer) -> None:
    turns = [{"role": "user", "content": TEXT}]
    counted = post(server, "tokenize", messages=turns, reasoning_effort="none").json()
    said = post(server, "chat/completions", messages=turns, reasoning_effort="none", max_tokens=1).json()
    assert counted["count"] == said["usage"]["prompt_tokens"]
    assert counted["token_strs"] is None


def test_messages_without_the_beginning_of_an_answer_are_the_tokens_before_it(server: RunningServer) -> None:
    turns = [{"role": "user", "content": TEXT}]
    for effort in ("none", "high"):
        opened, closed = (
            post(
                server, "tokenize", messages=turns, reasoning_effort=effort, add_generation_prompt=begun
            ).json()
            for begun in (True, False)
        )
        assert opened["count"] > closed["count"] > 5
        assert opened["tokens"][: closed["count"]] == closed["tokens"]
        beginning = post(server, "detokenize", tokens=opened["tokens"][closed["count"] :]).json()["prompt"]
        assert "assistant" in beginning


def test_a_model_that_embeds_has_the_tokens_that_its_tokenizer_adds(server: RunningServer) -> None:
    with_added = post(server, "tokenize", model="all-minilm", prompt="hello").json()
    bare = post(server, "tokenize", model="all-minilm", prompt="hello", add_special_tokens=False).json()
    assert with_added["count"] == bare["count"] + 2


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("tokenize", {}, 'give "prompt" or "messages"'),
        ("tokenize", {"prompt": "x", "messages": []}, 'give "prompt" or "messages"'),
        (
            "tokenize",
            {"messages": [{"role": "user", "content": "x"}], "model": "all-minilm"},
            "does not support chat",
        ),
        ("tokenize", {"prompt": "x", "continue_final_message": True}, "answers are not continued here"),
        ("tokenize", {"prompt": "x", "chat_template": "y"}, "is the model's own here"),
        ("detokenize", {}, "give a list of token ids"),
        (
            "detokenize",
            {"tokens": [1, -4]},
            "tokens[1]: -4 is no token of this model; its ids go from 0 to 2559",
        ),
        ("detokenize", {"tokens": [10**9]}, "tokens[0]: 1000000000 is no token"),
    ],
)
def test_a_fault_is_named(server: RunningServer, path: str, fields: dict[str, Any], words: str) -> None:
    answer = post(server, path, **fields)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
