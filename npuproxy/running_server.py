"""Finds the server that runs on this data folder, for commands that ask it instead of doing its work."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil
from msgspec import Struct

from npuproxy import data_folder

HEARTBEAT_S = 10.0


class RunningServer(Struct, frozen=True):
    """A server that answers."""

    url: str
    pid: int
    since: float
    """Unix time of its process's start."""


def find(folder: Path) -> RunningServer | None:
    """None when none answers: its file may be that of a server that was killed."""
    address = data_folder.read_address(folder)
    if address is None:
        return None
    try:
        since = psutil.Process(int(address["pid"])).create_time()
        answer = httpx.get(str(address["url"]), timeout=HEARTBEAT_S, trust_env=False)
    except (psutil.Error, httpx.HTTPError, ValueError):
        return None
    return RunningServer(str(address["url"]), int(address["pid"]), since) if answer.is_success else None
