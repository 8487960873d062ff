"""Requests that may not leave this machine, at the real server: a key's policy, a model's setting, a key's devices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from scripted_server import Answer, Scripted, scripted
from server_rows import eventually, orm

CHAT = "/v1/chat/completions"
WORDS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "from afar"}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
ANSWER = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in WORDS) + "data: [DONE]\n\n"


KEYS = {
    "stays": ("npk_" + "s" * 43, "", False),
    "cpu": ("npk_" + "c" * 43, "CPU", True),
    "afar": ("npk_" + "a" * 43, "cellar", True),
}
"""Name -> secret, devices, whether other servers may answer."""
SET_UP = """
from registry import removal
from registry.key import hashed
removal.copy('demo', 'private')
Model.objects.filter(name='private:latest').update(local_only=True)
for name, secret, devices, remote in {keys}:
    digest = hashed(secret.encode())
    ApiKey(name=name, sha256=digest, shown=secret[:8], devices_allowed=devices, remote_allowed=remote).save()
Backend(name='cellar', protocol='openai', url='{url}').save()
"""
TEAR_DOWN = """
from registry import removal
Backend.objects.all().delete()
ApiKey.objects.filter(name__in=['stays', 'cpu', 'afar']).delete()
removal.remove('private')
"""


def models(*names: str) -> Answer:
    return Answer(200, json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


@pytest.fixture(scope="module")
def cellar(server: RunningServer) -> Iterator[Scripted]:
    """Another server, with a model of its own and one that is kept here under the same name."""
    answers = {
        "/v1/models": models("far-7b", "private:latest"),
        CHAT: Answer(200, ANSWER.encode(), {"Content-Type": "text/event-stream"}),
    }
    with scripted(answers) as upstream:
        orm(server, SET_UP.format(url=upstream.url, keys=[(name, *row) for name, row in KEYS.items()]))
        try:
            eventually(lambda: "far-7b" in httpx.get(f"{server.url}/v1/models", timeout=30).text)
            yield upstream
        finally:
            orm(server, TEAR_DOWN)


def ask(server: RunningServer, model: str, key: str = "", **headers: str) -> httpx.Response:
    if key:
        headers["Authorization"] = f"Bearer {key}"
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": False,
    }
    return httpx.post(f"{server.url}/api/chat", json=body, headers=headers, timeout=60)


def asked(upstream: Scripted) -> int:
    return sum(path == CHAT for path, _ in upstream.seen)


def test_a_request_that_nobody_keeps_here_is_answered_from_afar(
    server: RunningServer, cellar: Scripted
) -> None:
    before = asked(cellar)
    answer = ask(server, "far-7b")
    assert answer.json()["message"]["content"] == "from afar"
    assert asked(cellar) == before + 1


@pytest.mark.parametrize("name", ["stays", "cpu"])
def test_a_key_that_stays_here_reaches_no_other_server(
    server: RunningServer, cellar: Scripted, name: str
) -> None:
    before = asked(cellar)
    key = KEYS[name][0]
    eventually(lambda: ask(server, "far-7b", key).status_code == 403)
    assert ask(server, "far-7b", key, **{"X-Remote-Allowed": "true"}).status_code == 403
    assert ask(server, "far-7b", key, **{"X-Target-Backend": "cellar"}).status_code == 403
    assert ask(server, "demo", key, **{"X-Target-Backend": "cellar"}).status_code in (403, 404)
    assert ask(server, "demo", key).status_code == 200
    assert asked(cellar) == before


def test_a_key_for_one_other_server_runs_there_and_not_here(server: RunningServer, cellar: Scripted) -> None:
    key = KEYS["afar"][0]
    eventually(lambda: ask(server, "demo", key).status_code == 403)
    assert ask(server, "far-7b", key).json()["message"]["content"] == "from afar"


def test_a_model_that_stays_here_does_so_whatever_is_asked(server: RunningServer, cellar: Scripted) -> None:
    before = asked(cellar)
    assert ask(server, "private").headers["X-NPU-Proxy-Device"] == "CPU"
    refused = ask(server, "private", **{"X-Target-Backend": "cellar", "X-Remote-Allowed": "true"})
    assert refused.status_code == 403
    assert "kept on this machine by the setting of private:latest" in refused.json()["error"]
    assert asked(cellar) == before
