"""The worker processes of a running server."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from conftest import RunningServer


def worker_of(server: RunningServer, model: str = "demo") -> psutil.Process:
    """The worker that holds a model's weights, found in what it has mapped."""
    for process in server.descendants():
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        if f"{model}/openvino_model.bin" in maps:
            return process
    pytest.fail(f"no worker of {model}: {server.log()[-2000:]}")
