"""Finds the server that runs on this data folder, for commands that ask it instead of doing its work."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil
from django.conf import settings
from msgspec import Struct

from npuproxy import data_folder, tls_files

HEARTBEAT_S = 10.0


class RunningServer(Struct, frozen=True):
    """A server that answers."""

    url: str
    pid: int
    since: float
    """Unix time of its process's start."""

    def client(self, timeout: float | httpx.Timeout) -> httpx.Client:
        """Asks it and nobody else. Raises OSError when a file of the certificate cannot be read."""
        verify = tls_files.own_client(settings.TLS) if self.url.startswith("https:") else False
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, verify=verify)


def find(folder: Path) -> RunningServer | None:
    """None when none answers: its file may be that of a server that was killed."""
    address = data_folder.read_address(folder)
    if address is None:
        return None
    try:
        since = psutil.Process(int(address["pid"])).create_time()
        with RunningServer(str(address["url"]), int(address["pid"]), since).client(HEARTBEAT_S) as client:
            answer = client.get("/")
    except (psutil.Error, httpx.HTTPError, OSError, ValueError):
        return None
    return RunningServer(str(address["url"]), int(address["pid"]), since) if answer.is_success else None
