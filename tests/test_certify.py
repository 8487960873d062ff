"""`manage.py certify`: what is claimed of a device is tried on a real server, and a claim that fails is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import NPU_PROMPT, RunningServer, environment
from scripted_server import Answer, scripted

from npuproxy.certify import TOO_LONG, Certification, Check

ROOT = Path(__file__).resolve().parent.parent
CLAIMS = ["device", "health", "short", "long", "stream", "embedding"]


def command(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "certify", "--json", *arguments],
        cwd=ROOT,
        env=environment(folder, NPU_PROXY_DATA_DIR=str(folder), **variables),
        capture_output=True,
        text=True,
        timeout=300,
    )


def certify(folder: Path, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = command(folder, *arguments, **variables)
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
    assert [name for name, passed in held.items() if not passed] == [
        name for name in CLAIMS if name != "health"
    ]
    for wrong, words in (
        (("--device", "TPU"), "'TPU' is no device"),
        (("--model", "all-minilm"), "does not chat"),
    ):
        refused = command(server.data_dir, *wrong)
        assert (refused.returncode in (1, 2), words in refused.stderr, refused.stdout) == (True, True, "")


def test_an_npu_is_certified_by_a_server_that_lives_as_long_as_the_command(tmp_path: Path) -> None:
    status, found = certify(tmp_path, NPU_PROXY_NPU_EMULATION="true")
    assert (status, found["certified"]) == (0, True), found["checks"]
    claims = {check["name"]: check["found"] for check in found["checks"]}
    assert claims["short"].startswith("executed on NPU (emulated): ")
    assert claims["long"].endswith(" tokens ran on CPU: prompt_exceeds_npu_limit")
    assert not (tmp_path / "server.json").exists()
    assert claims["embedding"].endswith("executed on NPU (emulated)")


def test_the_limit_is_that_of_the_server_that_runs(npu_server: RunningServer) -> None:
    """It was started with a variable that the command does not have."""
    with httpx.Client(base_url=npu_server.url, timeout=120) as client:
        (long,) = tried(client, "long")
    assert long.passed, long.found
    assert f"ran on CPU: {TOO_LONG}" in long.found
    assert int(long.found.split()[0]) < 2 * NPU_PROMPT


ENOUGH, ALONE = (
    [{"device": "NPU", "limit_tokens": 100}, {"device": "CPU", "limit_tokens": 4096}],
    [{"device": "NPU", "limit_tokens": 100}],
)
HEADERS = {"X-Backend-Used": "NPU", "X-NPU-Proxy-Token-Count": "110"}


@pytest.mark.parametrize(
    ("candidates", "status", "words", "found"),
    [
        (ALONE, 400, "the prompt has 110 tokens, the context holds 100", "refused: the prompt"),
        (ALONE, 400, "too long by far: 4096", "refused without both numbers"),
        (ALONE, 400, "the prompt has 110 tokens", "refused without both numbers"),
        (
            ENOUGH,
            400,
            "the prompt has 110 tokens, the NPU holds 100",
            "refused, and a device takes 4096 tokens",
        ),
        (ENOUGH, 200, "cut", "110 tokens ran on NPU: no fallback"),
        ([], 200, "never asked", "it takes no request on NPU"),
    ],
)
def test_a_server_that_breaks_the_claim_of_long_prompts_is_not_certified(
    candidates: list[dict[str, Any]], status: int, words: str, found: str
) -> None:
    answers = {
        "/routes/explain": Answer(200, json.dumps({"candidates": candidates}).encode()),
        "/api/chat": Answer(status, json.dumps({"error": words}).encode(), HEADERS),
    }
    with scripted(answers) as broken, httpx.Client(base_url=broken.url, timeout=30) as client:
        (long,) = tried(client, "long")
    assert long.found.startswith(found)
    assert long.passed == found.startswith("refused: ")


def tried(client: httpx.Client, name: str) -> list[Check]:
    certification = Certification(client, "NPU", "demo", "all-minilm")
    return [check for check in certification.checks() if check.name == name]
