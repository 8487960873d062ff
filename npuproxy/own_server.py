"""A server for the time of one command, on this data folder and any free port, where none runs already."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.conf import settings

from npuproxy import running_server
from npuproxy.running_server import RunningServer

START_S: Final = 90.0
STOP_S: Final = 20.0
_MANAGE: Final = Path(__file__).resolve().parent.parent / "manage.py"


class NotStarted(Exception):
    """One line that says why."""


@contextmanager
def running() -> Iterator[RunningServer]:
    """The one that runs, or one that ends with this block. Raises NotStarted."""
    folder = Path(settings.DATA_DIR)
    if (found := running_server.find(folder)) is not None:
        yield found
        return
    environment = {
        **os.environ,
        "NPU_PROXY_PORT": "0",
        "NPU_PROXY_GRPC_PORT": "0",
        "NPU_PROXY_HOST": "127.0.0.1",
    }
    with subprocess.Popen(
        [sys.executable, str(_MANAGE), "serve"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        log = _Log(process)
        try:
            yield _wait(process, folder, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


class _Log:
    """Reads what the server prints, so that it never waits for a reader; keeps the last line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.last = ""
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last = line.strip() or self.last


def _wait(process: subprocess.Popen[str], folder: Path, log: _Log) -> RunningServer:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if (found := running_server.find(folder)) is not None:
            return found
        time.sleep(0.1)
    raise NotStarted(f"no server runs, and none could be started: {log.last or 'it said nothing'}")
