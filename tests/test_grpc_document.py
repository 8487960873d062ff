"""docs/grpc.md: its example runs as it stands, with the stubs that its command makes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, RunningServer
from server_rows import eventually

from npuproxy.grpc import codes
from npuproxy.grpc.operations import RESOLVED

PAGE = (ROOT / "docs" / "grpc.md").read_text("utf-8")


def test_the_example_runs(server: RunningServer, tmp_path: Path) -> None:
    command = re.findall(r"^python (-m grpc_tools.protoc .*)$", PAGE, re.MULTILINE)[0].split()
    proto = ROOT / "npuproxy" / "grpc" / "ollama_proxy.proto"
    (tmp_path / proto.name).write_text(proto.read_text("utf-8"), "utf-8")
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True)
    example = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    assert "localhost:50051" in example
    (tmp_path / "example.py").write_text(example.replace("localhost:50051", server.grpc), "utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+ tokens on CPU: \w+\n$", done.stdout)
    eventually(lambda: "[first-try] gRPC" in server.log())


def test_every_method_and_every_status_is_on_the_page() -> None:
    assert not [method for method in RESOLVED if not re.search(rf"\b{method}\b", PAGE)]
    assert not [code.name for code in codes.ALL if f"{code.name}" not in PAGE]
