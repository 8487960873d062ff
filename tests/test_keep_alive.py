"""How long a model stays, in every form of keep_alive and over every endpoint that takes it, against a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve, start_server
from server_rows import eventually

CHAT = ("/api/chat", {"model": "demo", "messages": []})
GENERATE = ("/api/generate", {"model": "demo", "prompt": ""})
EMBED = ("/api/embed", {"model": "all-minilm", "input": ""})
ENDPOINTS = pytest.mark.parametrize(
    ("path", "body"), [CHAT, GENERATE, EMBED], ids=["chat", "generate", "embed"]
)
FOREVER = None
ABSENT = object()


@pytest.fixture(scope="module")
def too_small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("small"), NPU_PROXY_MEMORY_BUDGET="50000000")
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def post(server: RunningServer, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=120)


def ps(server: RunningServer) -> dict[str, dict[str, Any]]:
    models: list[dict[str, Any]] = httpx.get(f"{server.url}/api/ps", timeout=30).json()["models"]
    return {entry["name"]: entry for entry in models}


def expires_at(entry: dict[str, Any]) -> datetime:
    text = str(entry["expires_at"])
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


@ENDPOINTS
@pytest.mark.parametrize(
    ("keep_alive", "seconds"),
    [
        (90, 90.0),
        (90.5, 90.5),
        ("5m", 300.0),
        ("5m0s", 300.0),
        ("1h30m", 5400.0),
        ("1500ms", 1.5),
        (None, 300.0),
        (ABSENT, 300.0),
        (-1, FOREVER),
        (-0.5, FOREVER),
        ("-1s", FOREVER),
        ("99999999h", FOREVER),
    ],
)
def test_a_request_without_content_loads_the_model_for_as_long_as_it_says(
    server: RunningServer, path: str, body: dict[str, Any], keep_alive: object, seconds: float | None
) -> None:
    whole = body if keep_alive is ABSENT else {**body, "keep_alive": keep_alive}
    before = time.time()
    answer = post(server, path, whole)
    after = time.time()
    assert answer.status_code == 200, answer.text
    if path == "/api/embed":
        assert answer.json()["embeddings"] == []
    else:
        assert answer.json()["done_reason"] == "load"
    entry = ps(server)[f"{body['model']}:latest"]
    if seconds is FOREVER:
        assert expires_at(entry).year > 2300
    else:
        assert before + seconds - 0.01 <= expires_at(entry).timestamp() <= after + seconds + 0.01


@ENDPOINTS
@pytest.mark.parametrize(
    ("keep_alive", "words"),
    [
        ("abc", 'time: invalid duration "abc"'),
        ("300", 'time: missing unit in duration "300"'),
        ("5y", 'time: unknown unit "y" in duration "5y"'),
        (True, "Unsupported type: 'bool'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
    ],
)
def test_a_form_that_is_none_is_refused_before_anything_is_loaded(
    server: RunningServer, path: str, body: dict[str, Any], keep_alive: object, words: str
) -> None:
    answer = post(server, path, {**body, "keep_alive": keep_alive})
    assert (answer.status_code, answer.json()) == (400, {"error": words})


@ENDPOINTS
@pytest.mark.parametrize("zero", [0, "0s"])
def test_zero_without_content_unloads_and_is_no_error_twice(
    server: RunningServer, path: str, body: dict[str, Any], zero: object
) -> None:
    name = f"{body['model']}:latest"
    post(server, path, body)
    assert name in ps(server)
    for _ in range(2):
        answer = post(server, path, {**body, "keep_alive": zero})
        assert answer.status_code == 200
        if path != "/api/embed":
            assert answer.json()["done_reason"] == "unload"
        assert name not in ps(server)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}),
        ("/api/generate", {"model": "demo", "prompt": "hello"}),
        ("/api/embed", {"model": "all-minilm", "input": "hello"}),
    ],
)
def test_a_real_request_moves_the_end_and_with_zero_is_the_last_one(
    server: RunningServer, path: str, body: dict[str, Any]
) -> None:
    name, real = f"{body['model']}:latest", {**body, "stream": False, "options": {"num_predict": 2}}
    post(server, path, {**real, "keep_alive": "1h"})
    later = expires_at(ps(server)[name])
    post(server, path, {**real, "keep_alive": "2m"})
    sooner = expires_at(ps(server)[name])
    assert datetime.now(UTC) < sooner < later
    assert post(server, path, {**real, "keep_alive": 0}).status_code == 200
    eventually(lambda: name not in ps(server))


@ENDPOINTS
def test_it_leaves_by_itself_when_its_time_is_over(
    server: RunningServer, path: str, body: dict[str, Any]
) -> None:
    post(server, path, {**body, "keep_alive": "300ms"})
    eventually(lambda: f"{body['model']}:latest" not in ps(server))


def test_the_server_s_own_default_counts_where_a_request_says_nothing(serve: Serve) -> None:
    server = serve(OLLAMA_KEEP_ALIVE="-1")
    post(server, *GENERATE)
    assert expires_at(ps(server)["demo:latest"]).year > 2300


def test_requests_that_come_at_once_load_a_model_once(serve: Serve) -> None:
    server = serve()
    body = {"model": "demo", "prompt": "hello", "stream": False, "options": {"num_predict": 4}}
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda _: post(server, "/api/generate", body), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert server.log().count("loaded demo:latest on CPU") == 1
    assert server.log().count("unloaded") == 0


def test_ps_has_exactly_the_fields_that_clients_read(server: RunningServer) -> None:
    post(server, "/api/generate", {**GENERATE[1], "keep_alive": 60})
    post(server, "/api/embed", {**EMBED[1], "keep_alive": 600})
    models = httpx.get(f"{server.url}/api/ps", timeout=30).json()["models"]
    assert [entry["name"] for entry in models] == ["all-minilm:latest", "demo:latest"], "the longest first"
    for entry in models:
        assert set(entry) == {
            "name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length",
        }  # fmt: skip
        assert set(entry["details"]) == {
            "parent_model", "format", "family", "families", "parameter_size", "quantization_level",
        }  # fmt: skip
        assert entry["model"] == entry["name"]
        assert entry["size"] > 100_000_000 > entry["size_vram"] == 0
    assert {entry["name"]: entry["context_length"] for entry in models} == {
        "demo:latest": 4096,
        "all-minilm:latest": 256,
    }
    for path, body in (GENERATE, EMBED):
        post(server, path, {**body, "keep_alive": 0})
    assert httpx.get(f"{server.url}/api/ps", timeout=30).json() == {"models": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}),
        ("/api/embed", {"model": "all-minilm", "input": "hello"}),
        ("/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}),
    ],
)
def test_a_model_that_is_larger_than_the_memory_is_refused_with_both_figures(
    too_small: RunningServer, path: str, body: dict[str, Any]
) -> None:
    answer = post(too_small, path, body)
    assert answer.status_code == 500
    assert f"model '{body['model']}:latest' needs about 1" in answer.text
    assert "NPU_PROXY_MEMORY_BUDGET allows 50 MB" in answer.text
    assert ps(too_small) == {}
