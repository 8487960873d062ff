"""Each fault of a hub through POST /api/pull: one clear message, one clear state, and nothing that passes for a model.

The pulls run beside each other before the first test, since a hub that may come back is tried for seconds.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hub_repositories as repositories
import pytest
from conftest import RunningServer, Serve, get, start_server
from hub_process import Hub
from pull_streams import Frame, models, pull, rows, until

from registry.names import parse

WEIGHTS = "openvino_model.bin"
TOKEN = "hf_a_token_that_accepted"
LATER = {"Retry-After": "900"}

Prepare = Callable[[Hub, str], object]


class Fault(NamedTuple):
    """What is wrong, and how it is to be told."""

    prepare: Prepare
    code: str
    says: str
    pull: dict[str, str] = {}


def chat(**meta: Any) -> Prepare:
    return lambda hub, repo: repositories.chat(hub.root, repo, **meta)


def failing(kind: str, on: str = "any", path: str = WEIGHTS, **how: Any) -> Prepare:
    """A good repository, and a fault at this file of it."""

    def prepare(hub: Hub, repo: str) -> None:
        repositories.chat(hub.root, repo)
        hub.fault(kind, f"{repo}.*{path}", on=on, **how)

    return prepare


def listing(name: str, **entry: Any) -> Prepare:
    return lambda hub, repo: repositories.with_entries(hub.root, repo, name, **entry)


NOT_THERE = "pull model manifest: file does not exist"
FAULTS = {
    # tried again for seconds, so they begin first
    "truncated": Fault(
        failing("truncate", "cdn", after=1000),
        "truncated",
        "ended at byte 5000 of 2662277 of openvino_model.bin",
    ),
    "stalled": Fault(
        failing("silence", "cdn"), "stalled", "no byte came for 1 s (NPU_PROXY_PULL_TIMEOUT); pull again"
    ),
    "broken": Fault(failing("status", "file", status=500), "hub_unavailable", "answers 500; try again later"),
    "digest": Fault(chat(announced={WEIGHTS: "ab" * 32}), "digest_mismatch", "instead of abababababab"),
    "flipped": Fault(failing("flip", at=100), "digest_mismatch", "the bytes were thrown away"),
    "private": Fault(chat(private=True, tokens=[TOKEN]), "repository_not_found", NOT_THERE),
    "unauthorized": Fault(chat(), "unauthorized", "does not accept the token", {"token": "no-such-token"}),
    "gated": Fault(chat(gated="auto"), "gated", "faults/gated is gated: accept its licence at"),
    "forbidden": Fault(chat(gated="auto"), "gated", "then pull again", {"token": "hf_other"}),
    "missing": Fault(lambda hub, repo: None, "repository_not_found", NOT_THERE),
    "revision": Fault(chat(), "revision_not_found", NOT_THERE, {"revision": "no-such-branch"}),
    "limited": Fault(failing("status", "file", status=429, headers=LATER), "rate_limited", "to wait 900 s"),
    "limited-api": Fault(
        failing("status", "api", "", status=429, headers=LATER), "rate_limited", "asks to wait 900 s"
    ),
    "broken-api": Fault(failing("status", "api", "", status=500), "hub_unavailable", "answers 500"),
    "hotel": Fault(failing("garbage", "api", ""), "hub_unavailable", ""),
    "redirect": Fault(failing("redirect", to="file:///etc/passwd"), "refused_redirect", "no web address"),
    "traversal": Fault(listing("../../evil.json"), "unsafe_name", "no name inside of a folder"),
    "absolute": Fault(listing("/etc/evil.json"), "unsafe_name", "no name inside of a folder"),
    "symlink": Fault(listing("vocab.json", kind="symlink"), "unsafe_name", "no regular file"),
    "huge": Fault(listing("merges.txt", size=10**12), "too_large", "merges.txt of faults/huge has 931.3 GB"),
    "pickle": Fault(
        lambda hub, repo: repositories.without_openvino(hub.root, repo),
        "no_model_files",
        "nothing that runs here; look for an OpenVINO build of it with /api/search",
    ),
}


class Faulty(NamedTuple):
    """A server whose hub did all of that to it."""

    server: RunningServer
    told: dict[str, list[Frame]]


@pytest.fixture(scope="module")
def faulty(hub_of_all: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """As many pulls at once as there are faults; three of them run at a time."""
    hub_of_all.reset()
    told: dict[str, list[Frame]] = {}
    server = start_server(
        tmp_path_factory.mktemp("faulty"), HF_ENDPOINT=hub_of_all.url, NPU_PROXY_PULL_TIMEOUT="1"
    )
    try:
        server.wait_until_ready()

        def run(case: str) -> None:
            wish = FAULTS[case].pull
            name = f"faults/{case}" + (f"@{wish['revision']}" if "revision" in wish else "")
            told[case] = pull(server, name, token=wish.get("token", ""))

        for case, fault in FAULTS.items():
            fault.prepare(hub_of_all, f"faults/{case}")
        threads = [threading.Thread(target=run, args=(case,)) for case in FAULTS]
        for case, thread in zip(FAULTS, threads, strict=True):
            thread.start()
            until(partial(rows, server, f"faults/{case}:"))  # the pulls wait in this order
        for thread in threads:
            thread.join()
        yield Faulty(server, told)
    finally:
        server.stop()
        hub_of_all.reset()


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_the_hub_is_told_and_leaves_no_model(faulty: Faulty, case: str) -> None:
    fault, told = FAULTS[case], faulty.told[case]
    assert told[0] == {"status": "pulling manifest"}
    assert set(told[-1]) == {"error"}
    assert fault.says in told[-1]["error"]
    assert str(faulty.server.data_dir.parent) not in json.dumps(told)
    (row,) = rows(faulty.server, f"faults/{case}:")
    assert (row["state"], row["error_code"]) == ("failed", fault.code)
    assert row["error"]
    assert (row["secret"], row["owner"] != "", row["lease_until"]) == ("", True, None)


def test_nothing_half_is_left_where_models_are(faulty: Faulty) -> None:
    assert models(faulty.server) == {"demo:latest", "all-minilm:latest"}
    folder = faulty.server.data_dir / "models"
    assert not [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert not list(folder.rglob("SHA256SUMS"))
    assert not [path for path in folder.rglob("*") if path.is_symlink() or path.name.startswith("evil")]
    for case in ("digest", "flipped", "truncated", "stalled"):
        staged = folder / ".staging" / parse(f"faults/{case}").key.replace("/", "=").replace(":", "=")
        assert not (staged / WEIGHTS).exists()


def test_the_server_is_well_after_all_of_it(faulty: Faulty, hub: Hub) -> None:
    assert get(f"{faulty.server.url}/") == b"Ollama is running"
    assert "Traceback" not in faulty.server.log()
    repositories.chat(hub.root, "faults/truncated")
    assert pull(faulty.server, "faults/truncated")[-1] == {"status": "success"}
    assert "faults/truncated:latest" in models(faulty.server)


@pytest.mark.skipif(sys.platform != "linux", reason="no way to limit the files of a running process")
def test_a_full_disk_is_told_and_given_back(serve: Serve, hub: Hub, tmp_path: Path) -> None:
    """The system's limit on a file's size takes effect at a write, as a disk's end does."""
    import resource

    repositories.big(hub.root, "full/big")
    server = serve(HF_ENDPOINT=hub.url)
    limit = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (8 * 1024**2, resource.RLIM_INFINITY))
    told = pull(server, "full/big")[-1]["error"]
    assert told.startswith(
        f"no room left for {WEIGHTS} (File too large): free some space where the models are"
    )
    (row,) = rows(server)
    assert (row["state"], row["error_code"]) == ("failed", "disk_full")
    assert not [path for path in (server.data_dir / "models").rglob("*") if path.is_file()]
    assert "full/big:latest" not in models(server)
    for process in (server.process.pid, *(child.pid for child in server.descendants())):
        resource.prlimit(process, resource.RLIMIT_FSIZE, limit)
    assert pull(server, "full/big")[-1] == {"status": "success"}
