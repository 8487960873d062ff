"""POST /api/pull from outside: what a client reads while a model comes, and that the pull does not need the client."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

import httpx
import hub_repositories as repositories
import ollama
import pytest
import wire_clients
from conftest import RunningServer
from hub_process import Hub
from pull_streams import frames, models, opened, pull, rows, until, until_bytes, until_ended

WEIGHTS = "openvino_model.bin"
TOKEN = "hf_a_token_of_a_request"
SLOW = 4 * 1024**2
"""Bytes a second: a repository of 16 MiB takes four seconds."""


def layers(all_frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [frame for frame in all_frames if "total" in frame]


# --- Frames -------------------------------------------------------------------------------------------------


def test_a_pull_is_told_in_ollamas_frames(hub_server: RunningServer, hub: Hub) -> None:
    commit = repositories.chat(hub.root, "frames/chat")
    told = pull(hub_server, "frames/chat")
    assert told[0] == {"status": "pulling manifest"}
    assert told[-3:] == [
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    for frame in told[1:-3]:
        sha256 = frame["digest"].removeprefix("sha256:")
        assert set(frame) - {"completed"} == {"status", "digest", "total"}
        assert frame["status"] == f"pulling {sha256[:12]}"
        assert 0 < frame.get("completed", 1) <= frame["total"]  # left out while it is 0
    folder = hub.root / "frames/chat" / commit
    there = {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in folder.iterdir()}
    last = {frame["digest"]: frame for frame in layers(told)}
    assert last.keys() <= there
    assert all(frame["completed"] == frame["total"] for frame in last.values())
    assert f"sha256:{hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()}" in last


def test_a_layer_is_announced_before_its_first_byte(hub_server: RunningServer, hub: Hub) -> None:
    repositories.big(hub.root, "announced/big")
    hub.fault("stall", on="cdn", after=0, times=10)
    with opened(hub_server, "announced/big") as response:
        first = next(frame for frame in frames(response) if frame.get("total") == 16 * 1024**2)
        assert "completed" not in first
        assert len(first["digest"]) == len("sha256:") + 64
    hub.reset()
    assert until_ended(hub_server, "announced/big")["state"] == "done"


def test_progress_comes_several_times_a_second(hub_server: RunningServer, hub: Hub) -> None:
    """The hub's rate is the clock: it sends 16 MiB at 4 MiB a second, so four frames a second are sixteen."""
    repositories.big(hub.root, "steady/big")
    hub.fault("slow", WEIGHTS, on="cdn", rate=SLOW)
    told = pull(hub_server, "steady/big")
    weights = [frame.get("completed", 0) for frame in layers(told) if frame["total"] == 16 * 1024**2]
    assert weights == sorted(set(weights))
    assert len(weights) >= 16
    assert told[-1] == {"status": "success"}


def test_a_hub_without_digests_still_shows_that_bytes_flow(hub_server: RunningServer, hub: Hub) -> None:
    repositories.big(hub.root, "bare/big", bare=True)
    hub.fault("slow", WEIGHTS, rate=2 * SLOW)
    told = pull(hub_server, "bare/big")
    named = [frame for frame in layers(told) if frame["status"] == f"pulling {WEIGHTS}"]
    assert len({frame["completed"] for frame in named}) > 4
    assert [frame for frame in layers(told) if "digest" in frame][-1]["completed"]
    assert told[-1] == {"status": "success"}


def test_without_a_stream_there_is_the_last_frame_alone(hub_server: RunningServer, hub: Hub) -> None:
    repositories.chat(hub.root, "whole/chat")
    with opened(hub_server, "whole/chat", stream=False) as response:
        assert response.headers["Content-Type"].startswith("application/json")
        assert json.load(response) == {"status": "success"}
    assert "whole/chat:latest" in models(hub_server)


@pytest.mark.parametrize("name", ["no-such-model", "nobody/nothing", "hf.co/nobody/nothing"])
def test_an_unknown_model_is_told_in_the_words_that_clients_know(
    hub_server: RunningServer, hub: Hub, name: str
) -> None:
    words = {"error": "pull model manifest: file does not exist"}
    assert pull(hub_server, name) == [{"status": "pulling manifest"}, words]
    with opened(hub_server, name, stream=False) as response:
        assert (response.status, json.load(response)) == (500, words)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/b/c/d/e", "tiny/chat:" + "x" * 200])
def test_a_name_that_is_none_is_refused(hub_server: RunningServer, name: str) -> None:
    with opened(hub_server, name) as response:
        assert (response.status, json.load(response)) == (400, {"error": "invalid model name"})


def test_pulling_again_tells_the_same_and_fetches_nothing(hub_server: RunningServer, hub: Hub) -> None:
    repositories.chat(hub.root, "again/chat")
    first = pull(hub_server, "again/chat")
    hub.reset()
    second = pull(hub_server, "again/chat")
    assert [frame["status"] for frame in second if "total" not in frame] == [
        frame["status"] for frame in first if "total" not in frame
    ]
    whole = [frame for frame in layers(second) if "completed" in frame]
    assert {frame["digest"] for frame in whole} == {frame["digest"] for frame in layers(first)}
    assert all(frame["completed"] == frame["total"] for frame in whole)
    assert not hub.requests("again/chat", on="cdn")


@pytest.mark.parametrize("name", ["all-minilm", "Demo"])
def test_a_built_in_model_is_there_at_once(hub_server: RunningServer, name: str) -> None:
    told = pull(hub_server, name)
    assert told[0] == {"status": "pulling manifest"}
    assert told[-1] == {"status": "success"}
    assert all(frame["completed"] == frame["total"] for frame in layers(told))


# --- Clients that join and leave ----------------------------------------------------------------------------


def test_pulls_of_one_name_join(hub_server: RunningServer, hub: Hub) -> None:
    repositories.big(hub.root, "joined/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=SLOW)
    ends: list[dict[str, Any]] = []
    joined = threading.Semaphore(0)

    def follow(name: str) -> None:
        with opened(hub_server, name) as response:
            until_bytes(response, SLOW)
            joined.release()
            ends.append(list(frames(response))[-1])

    names = ("Joined/Big:latest", "joined/big")
    threads = [threading.Thread(target=follow, args=(name,)) for name in names]
    with opened(hub_server, "joined/big") as first:
        until_bytes(first, SLOW)
        for thread in threads:
            thread.start()
        assert all(joined.acquire(timeout=60) for _ in threads)
        hub.reset()
        ends.append(list(frames(first))[-1])
    for thread in threads:
        thread.join()
    assert ends == [{"status": "success"}] * 3
    assert len(rows(hub_server, "joined/big")) == 1
    assert len(hub.requests(f"big/{_commit(hub, 'joined/big')}/{WEIGHTS}", on="cdn")) == 1


def test_a_pull_goes_on_when_its_client_has_left(hub_server: RunningServer, hub: Hub) -> None:
    repositories.big(hub.root, "left/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=SLOW)
    with opened(hub_server, "left/big") as response:
        until_bytes(response, SLOW)
    hub.reset()
    assert until_ended(hub_server, "left/big")["state"] == "done"
    until(lambda: "left/big:latest" in models(hub_server))
    assert len(hub.requests(WEIGHTS, on="cdn")) == 1


def test_a_pull_is_ended_by_its_name_and_who_follows_it_is_told(hub_server: RunningServer, hub: Hub) -> None:
    repositories.big(hub.root, "ended/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=9, after=SLOW)
    with opened(hub_server, "ended/big") as response:
        until_bytes(response, SLOW)
        body = {"model": "ended/big"}
        found = httpx.request("DELETE", f"{hub_server.url}/api/pull", json=body, trust_env=False)
        assert (found.status_code, found.json()) == (200, {"cancelled": 1})
        assert list(frames(response))[-1] == {"error": "the pull of ended/big:latest was cancelled"}
    hub.reset()
    found = httpx.request("DELETE", f"{hub_server.url}/api/pull", json=body, trust_env=False)
    assert (found.status_code, found.json()) == (404, {"error": "no pull of 'ended/big' is under way"})


# --- Tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["body", "header"])
def test_a_token_of_the_request_reaches_the_hub_and_nobody_else(
    hub_server: RunningServer, hub: Hub, way: str
) -> None:
    name = f"gated/{way}"
    repositories.big(hub.root, name, 4 * 1024**2, gated="manual", tokens=[TOKEN])
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=1024**2, seconds=3600)
    body = {"token": TOKEN} if way == "body" else {}
    headers = {"X-Hub-Authorization": f"Bearer {TOKEN}"} if way == "header" else {}
    with opened(hub_server, name, headers, **body) as response:
        until_bytes(response, 1024**2)
        sealed = rows(hub_server, name)[-1]["secret"]
        assert sealed
        for path in (
            *hub_server.data_dir.glob("npuproxy.sqlite3*"),
            *(hub_server.data_dir / "broker").rglob("*.*"),
        ):
            assert TOKEN.encode() not in path.read_bytes()
        hub.reset()
        assert list(frames(response))[-1] == {"status": "success"}
    assert rows(hub_server, name)[-1]["secret"] == ""
    assert TOKEN not in hub_server.log()
    repositories.chat(hub.root, f"{name}-next")
    hub.reset()
    pull(hub_server, f"{name}-next")
    assert not [seen for seen in hub.requests() if "Authorization" in seen]


def test_the_token_goes_to_the_hub_and_not_to_its_cdn(hub_server: RunningServer, hub: Hub) -> None:
    repositories.chat(hub.root, "gated/cdn", gated="manual", tokens=[TOKEN])
    assert pull(hub_server, "gated/cdn", token=TOKEN)[-1] == {"status": "success"}
    assert {seen.get("Authorization") for seen in hub.requests(on="file")} == {f"Bearer {TOKEN}"}
    on_cdn = hub.requests(on="cdn")
    assert on_cdn
    assert not [seen for seen in on_cdn if "Authorization" in seen]


# --- The official client ------------------------------------------------------------------------------------


def test_the_official_client_pulls_with_progress_and_chats_with_the_model(
    hub_server: RunningServer, hub: Hub
) -> None:
    repositories.chat(hub.root, "official/chat")
    hub.fault("slow", WEIGHTS, on="cdn", rate=SLOW // 4)
    client = wire_clients.native(hub_server.url)
    progress = list(client.pull("official/chat", stream=True))
    seen = [part.completed for part in progress if part.total and part.total > 2_000_000]
    assert len(set(seen)) > 2
    assert progress[-1].status == "success"
    assert "official/chat:latest" in {model.model for model in client.list().models}
    answer = client.chat("official/chat", [{"role": "user", "content": "How do I pull a model?"}])
    assert answer.done
    assert answer.message.content
    with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist"):
        client.pull("nobody/nothing")


def _commit(hub: Hub, repo: str) -> str:
    commits = json.loads((hub.root / repo / "repository.json").read_text("utf-8"))["revisions"]
    return str(commits["main"])
