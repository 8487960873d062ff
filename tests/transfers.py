"""Fetching in tests: from the tests' hub into a staging folder, and what must be there afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from hub_process import Hub

from registry import download, folder
from registry import hub as hubs
from registry.hub import Repository

WEIGHTS = "openvino_model.bin"
HALF = 8 * 1024**2
"""Of the weights of `hub_repositories.big`."""


def pull(
    staging: Path,
    repo: str | Repository,
    token: str = "",
    on_progress: download.Progress = lambda name, done: None,
    cancelled: Callable[[], bool] = lambda: False,
    stall_s: float = 20.0,
) -> dict[str, str]:
    """Fetch it into the folder; name -> sha256."""
    found = repo if isinstance(repo, Repository) else hubs.repository(repo, token=token)
    return download.transfer(
        found, staging, token=token, on_progress=on_progress, cancelled=cancelled, stall_s=stall_s
    )


def part(staging: Path) -> Path:
    return staging / (WEIGHTS + ".part")


def check_whole(hub: Hub, repo: str, staging: Path) -> None:
    """The folder is a model's folder with the hub's bytes, and nothing beside them."""
    listed = folder.sums(staging)
    (commit,) = [path for path in (hub.root / repo).iterdir() if path.is_dir()]
    there = {path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file()}
    assert there == {*listed, "SHA256SUMS"}
    for name, sha256 in listed.items():
        data = (staging / name).read_bytes()
        assert data == (commit / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == sha256


def check_nothing_whole(staging: Path) -> None:
    """What failed cannot be taken for a model: no sums, and the weights do not have their name."""
    assert not (staging / "SHA256SUMS").exists()
    assert not (staging / WEIGHTS).exists()
