"""`manage.py certify`: what is claimed of a device is tried on a real server, and a claim that fails is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import RunningServer, environment

ROOT = Path(__file__).resolve().parent.parent
CLAIMS = ["device", "health", "short", "long", "stream", "embedding"]


def certify(folder: Path, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "manage.py", "certify", "--json", *arguments],
        cwd=ROOT,
        env=environment(folder, NPU_PROXY_DATA_DIR=str(folder), **variables),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def test_the_running_server_is_certified_and_the_report_names_what_it_ran_on(
    server: RunningServer, tmp_path: Path
) -> None:
    kept = tmp_path / "report.json"
    status, found = certify(server.data_dir, "--device", "CPU", "--output", str(kept))
    assert (status, found["certified"]) == (0, True)
    assert [check["name"] for check in found["checks"]] == CLAIMS
    assert json.loads(kept.read_text("utf-8")) == found
    assert len(found["model"]["digest"]) == 64
    assert found["runtime"].keys() == {"openvino", "openvino-genai", "openvino-tokenizers"}
    long = found["checks"][CLAIMS.index("long")]["found"]
    assert "the context holds" in long


def test_a_device_that_is_not_there_fails_the_claims_about_it_and_no_other(server: RunningServer) -> None:
    status, found = certify(server.data_dir, "--device", "GPU")
    assert (status, found["certified"]) == (1, False)
    held = {check["name"]: check["passed"] for check in found["checks"]}
    assert [name for name, passed in held.items() if not passed] == ["device", "short", "stream"]


def test_an_npu_is_certified_by_a_server_that_lives_as_long_as_the_command(tmp_path: Path) -> None:
    status, found = certify(tmp_path, "--device", "NPU", NPU_PROXY_NPU_EMULATION="true")
    assert (status, found["certified"]) == (0, True), found["checks"]
    claims = {check["name"]: check["found"] for check in found["checks"]}
    assert claims["short"].startswith("executed on NPU (emulated): ")
    assert claims["long"].endswith(" tokens ran on CPU: prompt_exceeds_npu_limit")
    assert not (tmp_path / "server.json").exists()
