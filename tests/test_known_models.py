"""The catalogue as it stands on this machine: GET /api/models/known and `manage.py models known`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest
from conftest import ROOT, RunningServer

from registry import catalog, known, store, verdict
from registry.models import Model


def test_every_short_name_is_told_with_its_builds_and_verdicts(server: RunningServer) -> None:
    answer = httpx.get(f"{server.url}/api/models/known")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    models = {model["name"]: model for model in answer.json()["models"]}
    assert list(models) == [entry.name for entry in catalog.entries()]
    qwen = models["qwen3:8b"]
    assert qwen["aliases"] == ["qwen3"]
    assert (qwen["type"], qwen["license"], qwen["context_length"]) == ("chat", "apache-2.0", 40960)
    assert {build["name"]: build["repo"] for build in qwen["builds"]}["qwen3:8b-int8"] == (
        "OpenVINO/Qwen3-8B-int8-ov"
    )
    assert qwen["devices"]["NPU"]["repo"] == "OpenVINO/Qwen3-8B-int4-cw-ov"
    assert qwen["devices"]["CPU"]["repo"] == qwen["huggingface_repo"] == "OpenVINO/Qwen3-8B-int4-ov"
    for model in models.values():
        assert list(model["devices"]) == list(verdict.DEVICES)
        for placement in model["devices"].values():
            assert placement["verdict"] in ("fits", "may_exceed_memory", "not_suited")
            assert placement["reason"]


def test_what_is_installed_is_said_to_be(server: RunningServer) -> None:
    models = {model["name"]: model for model in httpx.get(f"{server.url}/api/models/known").json()["models"]}
    assert models["all-minilm"]["installed"]
    assert models["all-minilm"]["installed_as"] == ["all-minilm:latest"]
    assert models["all-minilm"]["builtin"]
    assert not models["qwen3:8b"]["installed"]


def test_head_asks_whether_it_is_there(server: RunningServer) -> None:
    answer = httpx.head(f"{server.url}/api/models/known")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.django_db
def test_a_model_is_known_again_by_its_name_or_by_where_it_came_from() -> None:
    def install(name: str, source: str) -> None:
        Model.objects.create(
            name=name, source=source, path="/x", digest="0" * 64, kind="chat", context_length=1
        )

    install("Qwen3:8B-int8", "")
    install("mine:latest", "openvino/phi-2-INT4-ov")
    install("qwen3:latest", "")
    store._store._written()
    found = {model.entry.name: model.installed for model in known.known()}
    assert found["qwen3:8b"] == ("qwen3:latest", "Qwen3:8B-int8")
    assert found["phi-2"] == ("mine:latest",)
    assert [name for name, installed in found.items() if installed] == ["qwen3:8b", "phi-2"]


def test_the_command_prints_what_the_endpoint_says(server: RunningServer) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", "models", "known", *arguments],
            cwd=ROOT,
            env={**os.environ, "NPU_PROXY_DATA_DIR": str(server.data_dir)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert json.loads(run("--json")) == httpx.get(f"{server.url}/api/models/known").json()["models"]
    lines = run().splitlines()
    assert lines[0].split()[:5] == ["NAME", "TYPE", "PARAMETERS", "CONTEXT", "DOWNLOAD"]
    assert len(lines) == 1 + len(catalog.entries())
    (qwen,) = [line for line in lines if line.startswith("qwen3:8b ")]
    assert qwen.split()[1:6] == ["chat", "8.2B", "40960", "4.9", "GB"]
