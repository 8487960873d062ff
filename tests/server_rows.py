"""What a running server, or one that has ended, wrote into its database; and writes of another process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from conftest import RunningServer
from data_folders import ROOT, environment, furnish

T = TypeVar("T")


def rows(server: RunningServer, query: str, *values: object) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(server.data_dir / "npuproxy.sqlite3", timeout=30)) as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute(query, values).fetchall()]
        database.commit()
        return found


def manage(data_dir: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of another process on the same data folder, or on one that a server has been started in before."""
    furnish(data_dir)
    home = data_dir.parent / "home"
    home.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(home, **{"NPU_PROXY_DATA_DIR": str(data_dir), **variables}),
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def orm(server: RunningServer, code: str) -> None:
    """Django code on the tables of `registry.models`, in a process of its own."""
    done = manage(server.data_dir, "shell", "-v", "0", "-c", f"from registry.models import *; {code}")
    assert done.returncode == 0, done.stderr


def eventually(look: Callable[[], T | None], within_s: float = 30.0) -> T:
    """What `look` returns once it is something; fails when that takes too long."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
    return found
