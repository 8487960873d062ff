"""What Ollama's clients ask about models: heartbeat, version, tags, show, ps."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from conftest import RunningServer
from wire_clients import native

NATIVE = "application/json; charset=utf-8"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_heartbeat_answers(server: RunningServer, method: str) -> None:
    answer = httpx.request(method, f"{server.url}/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == ("Ollama is running" if method == "GET" else "")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/api/version", "/api/tags"])
def test_get_and_head_agree(server: RunningServer, method: str, path: str) -> None:
    answer = httpx.request(method, server.url + path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == NATIVE
    assert bool(answer.content) == (method == "GET")


def test_the_version_is_one_that_clients_take(server: RunningServer) -> None:
    version = httpx.get(f"{server.url}/api/version").json()["version"]
    assert tuple(map(int, re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version).groups())) >= (0, 13, 4)  # type: ignore[union-attr]


def test_neither_accept_nor_format_changes_the_answer(server: RunningServer) -> None:
    for query in ("", "?format=foo", "?format=api"):
        answer = httpx.get(f"{server.url}/api/version{query}", headers={"Accept": "text/html"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == NATIVE


def test_tags_lists_the_built_in_models(server: RunningServer) -> None:
    models = {entry.model: entry for entry in native(server.url).list().models}
    assert {"demo:latest", "all-minilm:latest"} <= set(models)
    demo = models["demo:latest"]
    assert re.fullmatch("[0-9a-f]{64}", demo.digest or "")
    assert (demo.size or 0) > 1_000_000
    assert demo.details is not None
    assert demo.details.family == "qwen3"
    raw = httpx.get(f"{server.url}/api/tags").json()["models"]
    times = [entry["modified_at"] for entry in raw]
    assert all(re.fullmatch(r"[-\dT:.]+Z", time) for time in times)
    assert times == sorted(times, reverse=True)
    by_name = {entry["name"]: entry for entry in raw}
    assert by_name["all-minilm:latest"]["capabilities"] == ["embedding"]
    assert {"completion", "tools", "thinking"} == set(by_name["demo:latest"]["capabilities"])


def test_show_tells_what_clients_look_for(server: RunningServer) -> None:
    shown = native(server.url).show("demo")
    info = shown.modelinfo or {}
    assert info["general.architecture"] == "qwen3"
    assert info["qwen3.context_length"] == 4096
    assert isinstance(info["general.parameter_count"], int)
    assert shown.capabilities
    assert "completion" in shown.capabilities
    assert shown.template
    assert shown.modelfile
    embedding = native(server.url).show("all-minilm")
    assert embedding.capabilities == ["embedding"]


def test_show_takes_the_old_field_and_the_bodies_of_the_command_line(server: RunningServer) -> None:
    body = {"model": "", "name": "demo", "system": "", "template": "", "verbose": False, "options": None}
    answer = httpx.post(f"{server.url}/api/show", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == NATIVE
    assert isinstance(answer.json()["parameters"], str)
    posted = httpx.post(f"{server.url}/api/show", data={"name": "demo"})  # a form is not JSON
    assert posted.status_code == 400


def test_copilot_finds_the_model_by_the_name_it_asked_for(server: RunningServer) -> None:
    headers = {"User-Agent": "GitHubCopilotChat/0.30"}
    shown = httpx.post(f"{server.url}/api/show", json={"model": "Demo:latest"}, headers=headers).json()
    assert shown["model_info"]["general.basename"] == "Demo:latest"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "nope"}, 404, "model 'nope:latest' not found"),
        ({"model": "a b"}, 400, "invalid model name"),
        ({}, 400, "model is required"),
        (
            {"model": 5},
            400,
            "json: cannot unmarshal number into Go struct field ShowRequest.model of type string",
        ),
    ],
)
def test_show_without_such_a_model(server: RunningServer, body: object, status: int, words: str) -> None:
    answer = httpx.post(f"{server.url}/api/show", json=body)
    assert answer.status_code == status
    assert answer.json() == {"error": words}


def test_ps_tells_what_is_loaded_and_until_when(server: RunningServer) -> None:
    client = native(server.url)
    client.generate("demo", keep_alive="10m")
    client.embed("all-minilm", "", keep_alive=60)
    before = datetime.now(UTC)
    models = client.ps().models
    assert [entry.model for entry in models] == ["demo:latest", "all-minilm:latest"], "the longest first"
    demo = models[0]
    assert demo.expires_at is not None
    assert timedelta(minutes=9) < demo.expires_at - before <= timedelta(minutes=10)
    assert demo.size
    assert demo.size_vram == 0, "it runs on the CPU"
    assert demo.context_length == 4096
    assert demo.details
    assert demo.details.family == "qwen3"
