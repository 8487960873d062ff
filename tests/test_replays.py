"""What well-known clients send, replayed against the real server (tests/replays), and what they make of the answers."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import RunningServer, start_server
from keys import apikey
from replaying import FOLDER, Player, load

FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Shared by the clients, with the names that their users give to models."""
    running = start_server(tmp_path_factory.mktemp("replays"))
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def name_models(server: RunningServer, models: dict[str, Any]) -> None:
    """As a user does once: `ollama cp demo NAME`, or a model of its own with parameters."""
    for name, of in models.items():
        path, body = "/api/copy", {"source": of, "destination": name}
        if isinstance(of, dict):
            path, body = "/api/create", {"model": name, "stream": False, **of}
        with urllib.request.urlopen(f"{server.url}{path}", json.dumps(body).encode(), timeout=30) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_client_gets_what_it_depends_on(own_server: RunningServer, path: Path) -> None:
    replay = load(path)
    name_models(own_server, replay.get("models", {}))
    kept = {"key": apikey(own_server, "create", path.stem)["secret"]} if replay.get("key") else {}
    player = Player(own_server.port, replay, kept)
    try:
        for step in replay["steps"]:
            player.play(step)
    finally:
        player.close()
