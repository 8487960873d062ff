"""Copies and removals: a name at a time, files and memory only when no name is left for them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve
from modelfiles import DEMO, QUESTION, create, delete, files_of, loaded, lora, manage, said_by, send, show
from wire_clients import native

LONG = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": 6, "num_predict": 1500}


def copy(server: RunningServer, source: str, destination: str) -> httpx.Response:
    body = {"source": source, "destination": destination}
    return httpx.post(f"{server.url}/api/copy", json=body, timeout=60)


def remove(server: RunningServer, body: Any) -> httpx.Response:
    return httpx.request("DELETE", f"{server.url}/api/delete", json=body, timeout=90)


def names(server: RunningServer) -> set[str]:
    return {model.model or "" for model in native(server.url).list().models}


def folders(server: RunningServer, name: str) -> list[Path]:
    return list((server.data_dir / "models").glob(f"{name}=*"))


def until(condition: Callable[[], object], words: str) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends, words
        time.sleep(0.1)


def test_a_copy_is_the_same_model_under_another_name(server: RunningServer) -> None:
    create(server, model="kept-one", **{"from": "demo"}, system="You are kept.")
    answer = copy(server, "kept-one", "kept-two")
    assert (answer.status_code, answer.content) == (200, b"")
    one, two = show(server, "kept-one"), show(server, "kept-two")
    assert [two[field] for field in ("system", "details", "capabilities", "parameters")] == [
        one[field] for field in ("system", "details", "capabilities", "parameters")
    ]
    listed = {model.model: model.digest for model in native(server.url).list().models}
    assert listed["kept-one:latest"] == listed["kept-two:latest"] != listed["demo:latest"]
    delete(server, "kept-one")
    assert said_by(server, "kept-two") == said_by(
        server, "demo", [{"role": "system", "content": "You are kept."}, *QUESTION]
    )
    delete(server, "kept-two")


def test_a_copy_takes_the_place_of_what_had_the_name(server: RunningServer) -> None:
    create(server, model="kept-old", **{"from": "all-minilm"})
    assert copy(server, "demo", "KEPT-OLD").status_code == 200
    assert "embedding" not in show(server, "kept-old")["capabilities"]
    assert {name.lower() for name in names(server) if name.lower().startswith("kept-")} == {"kept-old:latest"}
    assert copy(server, "kept-old", "kept-old").status_code == 200
    delete(server, "kept-old")


@pytest.mark.parametrize(
    ("source", "destination", "status", "words"),
    [
        ("nope", "kept-x", 404, 'model "nope" not found'),
        ("", "kept-x", 400, 'source "" is invalid'),
        ("demo", "", 400, 'destination "" is invalid'),
        ("demo", "../x", 400, 'destination "../x" is invalid'),
        ("a b", "kept-x", 400, 'source "a b" is invalid'),
    ],
)
def test_a_copy_of_nothing(
    server: RunningServer, source: str, destination: str, status: int, words: str
) -> None:
    answer = copy(server, source, destination)
    assert (answer.status_code, answer.json()) == (status, {"error": words})


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"name": "nope"}, 404, "model 'nope' not found"),
        ({"model": "a b"}, 400, 'name "a b" is invalid'),
        ({}, 400, "model is required"),
        ({"model": "demo"}, 400, "model 'demo:latest' ships with the program and cannot be removed"),
    ],
)
def test_a_removal_of_nothing(server: RunningServer, body: dict[str, str], status: int, words: str) -> None:
    answer = remove(server, body)
    assert (answer.status_code, answer.json()) == (status, {"error": words})


def test_files_go_with_the_last_name_that_has_them_and_memory_with_it(server: RunningServer) -> None:
    create(server, model="kept-base", files=files_of(server, DEMO, "base"))
    assert len(folders(server, "kept-base")) == 1
    create(server, model="kept-child", **{"from": "kept-base"}, system="A child.")
    assert said_by(server, "kept-base") == said_by(server, "demo")
    answer = remove(server, {"model": "", "name": "kept-base"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert "kept-base:latest" not in names(server)
    assert "kept-base:latest" not in loaded(server)
    assert said_by(server, "kept-child"), "the files are its too"
    assert len(folders(server, "kept-base")) == 1
    assert "kept-child:latest" in loaded(server)
    delete(server, "kept-child")
    assert folders(server, "kept-base") == []
    assert "kept-child:latest" not in loaded(server)


def test_a_model_that_answers_is_removed_when_it_has_ended(server: RunningServer) -> None:
    create(server, model="kept-busy", files=files_of(server, DEMO, "busy"))
    body = {"model": "kept-busy", "messages": QUESTION, "think": False, "options": LONG}
    answers: list[httpx.Response] = []
    with httpx.stream("POST", f"{server.url}/api/chat", json=body, timeout=120) as stream:
        lines = stream.iter_lines()
        next(lines)
        removing = threading.Thread(target=lambda: answers.append(remove(server, {"model": "kept-busy"})))
        removing.start()
        last = json.loads(list(lines)[-1])
    removing.join(90)
    assert (last["done"], last["eval_count"] > 20) == (True, True)
    assert [answer.status_code for answer in answers] == [200]
    assert "kept-busy:latest" not in names(server) | loaded(server)
    assert folders(server, "kept-busy") == []


def test_a_built_in_model_comes_back_when_what_took_its_name_is_removed(serve: Serve) -> None:
    server = serve()
    create(server, model="demo", **{"from": "demo"}, system="Another one.")
    assert show(server, "demo")["system"] == "Another one."
    delete(server, "demo")
    assert "system" not in show(server, "demo")
    assert remove(server, {"model": "demo"}).status_code == 400


def test_the_command_removes_and_copies_beside_a_server_that_lets_go_of_the_model(
    server: RunningServer,
) -> None:
    create(server, model="kept-cli", files=files_of(server, DEMO, "cli"))
    assert said_by(server, "kept-cli")
    assert "kept-cli:latest" in loaded(server)
    copied = manage(server, "models", "cp", "demo", "kept-copy", "--json")
    assert json.loads(copied.stdout)["name"] == "kept-copy:latest", copied.stderr
    removed = manage(server, "models", "rm", "kept-cli", "kept-copy", "--json")
    assert json.loads(removed.stdout) == [
        {"name": "kept-cli", "removed": True},
        {"name": "kept-copy", "removed": True},
    ], removed.stderr
    assert folders(server, "kept-cli") == []
    until(lambda: "kept-cli:latest" not in loaded(server), "it is still in memory")
    until(lambda: not any(name.startswith("kept-") for name in names(server)), "it is still listed")
    again = manage(server, "models", "rm", "kept-cli")
    assert (again.returncode, "model 'kept-cli' not found" in again.stderr) == (1, True)


def test_what_cleans_the_disk_up_leaves_the_adapters_of_models(server: RunningServer) -> None:
    weights = send(server, lora(rank=2))
    create(server, model="kept-lora", **{"from": "demo"}, adapters={"a.safetensors": weights})
    (kept,) = (server.data_dir / "models" / ".blobs").glob("*.safetensors")
    os.utime(kept, (time.time() - 1e6, time.time() - 1e6))
    pruned = manage(server, "prune", "--json")
    assert pruned.returncode == 0, pruned.stderr
    assert kept.exists()
    delete(server, "kept-lora")
    assert not kept.exists()
