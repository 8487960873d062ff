"""What well-known clients send, replayed against the real server (tests/replays), and what they make of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import hub_repositories
import pytest
from conftest import RunningServer
from hub_process import Hub
from keys import apikey
from replaying import FOLDER, Player, load

FILES = sorted(FOLDER.glob("*.yaml"))


@contextmanager
def named_models(server: RunningServer, models: dict[str, Any]) -> Iterator[None]:
    """The names that a user gives to models once: `ollama cp demo NAME`, or a model of its own with parameters."""
    for name, of in models.items():
        path, body = "/api/copy", {"source": of, "destination": name}
        if isinstance(of, dict):
            path, body = "/api/create", {"model": name, "stream": False, **of}
        assert httpx.post(f"{server.url}{path}", json=body, timeout=30).status_code == 200
    try:
        yield
    finally:
        for name in models:
            httpx.request("DELETE", f"{server.url}/api/delete", json={"model": name}, timeout=30)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_client_gets_what_it_depends_on(hub_server: RunningServer, hub: Hub, path: Path) -> None:
    replay = load(path)
    for repository in replay.get("hub", ()):
        hub_repositories.chat(hub.root, repository)
    kept = {"key": apikey(hub_server, "create", path.stem)["key"]} if replay.get("key") else {}
    player = Player(hub_server.port, replay, kept)
    with named_models(hub_server, replay.get("models", {})):
        try:
            for step in replay["steps"]:
                player.play(step)
        finally:
            player.close()
