"""Rows of /v1/models say whether a model is in memory, as llama-server's router does."""

from __future__ import annotations

import threading
from typing import Any

import httpx
from conftest import RunningServer
from engines import BUILTIN
from modelfiles import create, delete, files_of, send
from server_rows import eventually
from wire_clients import claude, native, v1


def status(server: RunningServer, model: str) -> dict[str, Any]:
    """As OpenAI's client has it in the list and alone, which agree."""
    listed: Any = {entry.id: entry for entry in v1(server.url).models.list()}[model]
    alone: Any = v1(server.url).models.retrieve(model)
    assert listed.status["value"] == alone.status["value"]
    found: dict[str, Any] = alone.status
    return found


def test_a_model_is_loaded_from_its_first_answer_until_it_goes(server: RunningServer) -> None:
    client = native(server.url)
    client.generate("demo", keep_alive=0)
    assert status(server, "demo:latest") == {"value": "unloaded"}
    create(server, model="shown-same", **{"from": "demo"}, system="Be brief.")
    try:
        client.generate("demo", keep_alive="5m")
        assert status(server, "demo:latest") == {"value": "loaded"}
        assert status(server, "shown-same:latest") == {"value": "loaded"}, "the worker serves both"
    finally:
        delete(server, "shown-same")
    client.generate("demo", keep_alive=0)
    assert status(server, "demo:latest") == {"value": "unloaded"}


def test_a_load_shows_while_it_goes_on(server: RunningServer) -> None:
    native(server.url).generate("demo", keep_alive=0)
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=server.url) as client:
            while not done.is_set():
                seen.add(client.get("/v1/models/demo").json()["status"]["value"])

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        native(server.url).generate("demo")
        eventually(lambda: "loaded" in seen)
    finally:
        done.set()
        watching.join()
    assert seen - {"unloaded"} == {"loading", "loaded"}


def test_a_model_that_a_device_refused_has_failed(server: RunningServer) -> None:
    files = files_of(server, BUILTIN / "demo", "x") | {"openvino_model.bin": send(server, b"no weights")}
    create(server, model="shown-broken", files=files)
    try:
        assert status(server, "shown-broken:latest") == {"value": "unloaded"}
        answer = httpx.post(f"{server.url}/api/generate", json={"model": "shown-broken"}, timeout=60)
        assert answer.status_code == 500, answer.text
        assert status(server, "shown-broken:latest") == {"value": "unloaded", "failed": True}
    finally:
        delete(server, "shown-broken")


def test_anthropic_s_client_reads_its_own_rows(server: RunningServer) -> None:
    assert "demo:latest" in {entry.id for entry in claude(server.url).models.list()}
