"""`template`, `shift` and `truncate` of /api/generate and /api/chat: what they do here, and what they cannot."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from conftest import RunningServer

PROMPT = "How do I pull a model?"
LONG = "word " * 300
BABBLE = {"temperature": 1000.0, "top_k": 0, "top_p": 1.0, "seed": 6}
"""Every token is as likely as the end."""


def ask(server: RunningServer, path: str, prompt: str, **fields: Any) -> httpx.Response:
    said: dict[str, Any] = {"prompt": prompt}
    if path == "chat":
        said = {"messages": [{"role": "user", "content": prompt}]}
    body = {"model": "demo", "think": False, "stream": False, **said, **fields}
    return httpx.post(f"{server.url}/api/{path}", json=body, timeout=60)


@pytest.mark.parametrize("template", ["{{ .Prompt }}", "{{ messages }}", "x"])
def test_a_template_is_refused_with_the_way_out_and_an_empty_one_is_none(
    server: RunningServer, template: str
) -> None:
    answer = ask(server, "generate", PROMPT, template=template)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith('"template": cannot be given with a request')
    assert "/api/create" in answer.json()["error"]
    for empty in ("", None):
        answer = ask(server, "generate", PROMPT, template=empty, options={"num_predict": 1})
        assert answer.status_code == 200


@pytest.mark.parametrize("path", ["generate", "chat"])
@pytest.mark.parametrize("shift", [False, True, None])
def test_an_answer_ends_where_the_context_does(server: RunningServer, path: str, shift: Any) -> None:
    """A context is never shifted: what the model has forgotten nobody would know."""
    answer = ask(server, path, PROMPT, shift=shift, options={**BABBLE, "num_ctx": 64}).json()
    assert answer["done_reason"] == "length"
    assert answer["prompt_eval_count"] + answer["eval_count"] == 64


@pytest.mark.parametrize("path", ["generate", "chat"])
@pytest.mark.parametrize("truncate", [False, None, True])
def test_one_turn_that_is_too_long_is_never_cut(server: RunningServer, path: str, truncate: Any) -> None:
    answer = ask(server, path, LONG, truncate=truncate, options={"num_ctx": 100})
    assert answer.status_code == 400
    assert "the input length exceeds the context length: the prompt has 6" in answer.json()["error"]
    assert "the context holds 100" in answer.json()["error"]


def test_older_turns_go_where_the_request_allows_it(server: RunningServer) -> None:
    turns = [{"role": role, "content": LONG} for role in ("user", "assistant")]
    turns.append({"role": "user", "content": PROMPT})
    body = {"model": "demo", "messages": turns, "think": False, "stream": False, "options": {"num_ctx": 100}}
    for refused in ({}, {"truncate": False}):
        assert httpx.post(f"{server.url}/api/chat", json=body | refused, timeout=60).status_code == 400
    cut = httpx.post(f"{server.url}/api/chat", json=body | {"truncate": True}, timeout=60)
    assert cut.status_code == 200
    assert cut.headers["x-npu-proxy-truncated-messages"] == "2"
