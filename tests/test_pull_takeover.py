"""Who works on a pull may die at any moment: another one goes on from its bytes. What is cancelled leaves nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import hub_repositories as repositories
import psutil
import pytest
from conftest import ROOT, RunningServer, Serve, check_all_gone, environment
from hub_process import Hub
from pull_streams import (
    frames,
    models,
    opened,
    pull,
    rows,
    until,
    until_bytes,
    until_ended,
    until_row,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and SIGSTOP are not on Windows")

WEIGHTS = "openvino_model.bin"
SIZE = 16 * 1024**2
HERE = 6 * 1024**2
"""Where the hub holds the first transfer, so that it cannot end before its worker does."""
BLOCK = 1024**2
"""What may be on its way, or unwritten, when a process is killed."""


def manage(server: RunningServer, *arguments: str) -> str:
    """What `manage.py` prints beside this server."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(server.data_dir.parent / "home", NPU_PROXY_DATA_DIR=str(server.data_dir)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def worker(server: RunningServer) -> psutil.Process:
    """The process for jobs that the server started."""
    return until(
        lambda: next(
            (one for one in server.descendants() if "npuproxy.jobs_worker" in " ".join(one.cmdline())), None
        )
    )


def check_resumed(hub: Hub, known: int) -> None:
    """Two requests for the weights; the second went on from where the first had come to, `known` bytes at least."""
    first, second = until(lambda: (seen := hub.requests(WEIGHTS, on="cdn"))[1:] and seen)
    assert "Range" not in first
    match = re.fullmatch(r"bytes=(\d+)-", second["Range"])
    assert match
    assert known <= int(match[1]) < SIZE
    assert SIZE <= first["sent"] + second["sent"] <= SIZE + BLOCK


def staged(server: RunningServer) -> list[Path]:
    """Files of pulls that are no model yet."""
    return [path for path in (server.data_dir / "models" / ".staging").rglob("*") if path.is_file()]


def test_a_killed_worker_is_replaced_and_its_bytes_are_kept(serve: Serve, hub: Hub) -> None:
    repositories.big(hub.root, "killed/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=HERE)
    server = serve(HF_ENDPOINT=hub.url)
    with opened(server, "killed/big") as response:
        known = until_bytes(response, HERE)["completed"]
        worker(server).kill()
        assert list(frames(response))[-1] == {"status": "success"}
    row = rows(server, "killed/big")[-1]
    assert (row["state"], row["attempts"]) == ("done", 2)
    check_resumed(hub, known)
    assert not staged(server)
    assert "killed/big:latest" in models(server)
    assert "the process for jobs died (-9)" in server.log()


def test_a_pull_is_found_again_after_the_whole_server_was_killed(serve: Serve, hub: Hub) -> None:
    repositories.big(hub.root, "found/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=HERE)
    first = serve(HF_ENDPOINT=hub.url, NPU_PROXY_PULL_LEASE="2")
    with opened(first, "found/big") as response:
        known = until_bytes(response, HERE)["completed"]
        family = first.descendants()
        first.process.kill()
        first.process.wait()
    check_all_gone(family, first.log)
    assert rows(first, "found/big")[-1]["state"] == "running"
    second = serve(HF_ENDPOINT=hub.url, NPU_PROXY_PULL_LEASE="2", NPU_PROXY_DATA_DIR=str(first.data_dir))
    assert until_ended(second, "found/big")["state"] == "done"
    check_resumed(hub, known)
    until(lambda: "found/big:latest" in models(second))


def test_another_server_takes_over_when_the_lease_ends(serve: Serve, hub: Hub, tmp_path: Path) -> None:
    repositories.big(hub.root, "shared/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=HERE)
    shared = {
        "HF_ENDPOINT": hub.url,
        "NPU_PROXY_PULL_LEASE": "2",
        "NPU_PROXY_MODEL_PATH": str(tmp_path / "models"),
    }
    first = serve(**shared)
    second = serve(DATABASE_URL=f"sqlite:///{first.data_dir / 'npuproxy.sqlite3'}", **shared)
    with opened(first, "shared/big") as response:
        known = until_bytes(response, HERE)["completed"]
    owner = rows(first, "shared/big")[-1]["owner"]
    with opened(second, "shared/big") as joined:
        first.process.kill()
        first.process.wait()
        assert list(frames(joined))[-1] == {"status": "success"}
    row = rows(first, "shared/big")[-1]
    assert row["owner"] != owner
    check_resumed(hub, known)
    assert "shared/big:latest" in models(second)


def test_a_stopped_server_hands_its_pull_to_its_next_start(serve: Serve, hub: Hub) -> None:
    repositories.big(hub.root, "stopped/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=HERE)
    first = serve(HF_ENDPOINT=hub.url)
    with opened(first, "stopped/big") as response:
        known = until_bytes(response, HERE)["completed"]
        first.stop()
        last = list(frames(response))[-1]
    assert set(last) == {"error"}
    row = rows(first, "stopped/big")[-1]
    assert (row["state"], row["attempts"]) == ("queued", 0)
    second = serve(HF_ENDPOINT=hub.url, NPU_PROXY_DATA_DIR=str(first.data_dir))
    assert until_ended(second, "stopped/big")["state"] == "done"
    check_resumed(hub, known)


def test_a_row_without_a_message_is_found(serve: Serve, hub: Hub) -> None:
    """As after a broker that lost its messages: the process that wrote the row sent none."""
    repositories.chat(hub.root, "silent/chat")
    server = serve(HF_ENDPOINT=hub.url)
    manage(server, "shell", "-v0", "-c", "from registry import pulls; pulls.request('silent/chat')")
    assert until_ended(server, "silent/chat")["state"] == "done"


def test_a_lost_message_is_sent_again(serve: Serve, hub: Hub) -> None:
    repositories.chat(hub.root, "first/chat")
    repositories.chat(hub.root, "lost/chat")
    server = serve(HF_ENDPOINT=hub.url)
    pull(server, "first/chat")
    process, queue = worker(server), server.data_dir / "broker" / "queue"
    process.suspend()
    with opened(server, "lost/chat") as response:
        for message in until(lambda: list(queue.glob("*.msg"))):
            message.unlink()
        process.resume()
        assert list(frames(response))[-1] == {"status": "success"}


@pytest.mark.parametrize("when", ["running", "waiting"])
def test_a_cancelled_pull_leaves_nothing(hub_server: RunningServer, hub: Hub, when: str) -> None:
    name = f"cancelled/{when}"
    repositories.big(hub.root, name)
    if when == "waiting":
        process = _idle_worker(hub_server, hub)
        process.suspend()
    hub.fault("stall", f"{name}.*{WEIGHTS}", on="cdn", after=4 * BLOCK)
    with opened(hub_server, name) as response:
        if when == "running":
            until_bytes(response, 4 * BLOCK)
            assert staged(hub_server)
        else:
            until_row(hub_server, name, lambda row: row["state"] == "queued")
        assert "cancelled" in manage(hub_server, "pullmodel", "--cancel", name)
        assert list(frames(response))[-1] == {"error": f"the pull of {name}:latest was cancelled"}
    if when == "waiting":
        process.resume()
    row = until_ended(hub_server, name)
    assert (row["state"], row["owner"] != "", row["secret"]) == ("cancelled", when == "running", "")
    assert not staged(hub_server)
    assert f"{name}:latest" not in models(hub_server)
    hub.reset()
    assert pull(hub_server, name)[-1] == {"status": "success"}


def _idle_worker(server: RunningServer, hub: Hub) -> psutil.Process:
    repositories.chat(hub.root, "cancelled/before")
    pull(server, "cancelled/before")
    return worker(server)


def test_a_pull_that_ends_in_an_error_keeps_its_bytes_for_the_next(
    hub_server: RunningServer, hub: Hub
) -> None:
    repositories.big(hub.root, "kept/big")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=4 * BLOCK, seconds=1)
    with opened(hub_server, "kept/big") as response:
        until_bytes(response, 4 * BLOCK)
        hub.fault("status", WEIGHTS, on="file", status=429, headers={"Retry-After": "900"})
        assert "900 s" in list(frames(response))[-1]["error"]
    hub.reset()
    assert pull(hub_server, "kept/big")[-1] == {"status": "success"}
    (seen,) = hub.requests(WEIGHTS, on="cdn")
    assert seen["Range"] == f"bytes={4 * BLOCK}-"
