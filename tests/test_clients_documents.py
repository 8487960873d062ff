"""What docs/clients.md tells people to type works as it stands there; only the address is this test's server's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import javascript_clients
import pytest
from conftest import ROOT, RunningServer

PAGE = "docs/clients.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:11435"
BLOCKS = BLOCK.findall((ROOT / PAGE).read_text("utf-8"))


def command(language: str, code: str) -> tuple[list[str], Path]:
    """What runs it, and where."""
    if language == "javascript":
        return [*javascript_clients.installed(), "--input-type=module", "-e", code], javascript_clients.FOLDER
    if language == "python":
        return [sys.executable, "-c", code], ROOT
    shell = shutil.which("sh")
    if shell is None or shutil.which("curl") is None:
        pytest.skip("the lines for curl need sh and curl")
    return [shell, "-ec", code], ROOT


@pytest.mark.parametrize(("language", "code"), BLOCKS, ids=[code.splitlines()[0][:40] for _, code in BLOCKS])
def test_the_lines_for_a_client_work(hub_server: RunningServer, language: str, code: str) -> None:
    assert ADDRESS in code
    run, folder = command(language, code.replace(ADDRESS, hub_server.url))
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=150)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert '"error"' not in done.stdout
