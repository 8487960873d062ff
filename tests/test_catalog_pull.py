"""A pull by a short name, from the hub to the row."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import hub_repositories
import pytest
from engines import BUILTIN
from hub_process import Hub
from msgspec import structs

from registry import pull_run, pulls
from registry.models import Device, Download, Model

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_models(settings: Any, tmp_path: Path, hub: Hub) -> None:
    settings.MODEL_PATH = tmp_path / "models"
    settings.HF_ENDPOINT = hub.url


def embedding_without_its_pooling(hub: Hub, repo: str) -> None:
    """As OpenVINO's conversions are: the IR and the tokenizer, and nothing that says how to pool."""
    folder = BUILTIN / "all-minilm"
    kept = [
        "config.json",
        *(path.name for path in folder.glob("*token*")),
        "openvino_model.xml",
        "openvino_model.bin",
    ]
    hub_repositories.publish(hub.root, repo, {name: folder / name for name in kept})


def pull(name: str, device: str = "") -> Download:
    pulls.request(name, device=device)
    claimed = pulls.claim("test")
    assert claimed is not None
    pull_run.work(claimed, threading.Event())
    claimed.refresh_from_db()
    assert claimed.state == Download.States.DONE, claimed.error
    return claimed


def test_an_embedding_model_pools_as_the_catalogue_says(hub: Hub) -> None:
    embedding_without_its_pooling(hub, "OpenVINO/bge-base-en-v1.5-int8-ov")
    embedding_without_its_pooling(hub, "nobody/knows-it")
    pull("bge-base")
    row = Model.objects.get(name="bge-base:latest")
    assert (row.kind, row.pooling, row.capabilities) == ("embedding", "cls", ["embedding"])
    assert row.source == "OpenVINO/bge-base-en-v1.5-int8-ov"
    pull("nobody/knows-it")
    assert Model.objects.get(name="nobody/knows-it:latest").pooling == "mean"


def test_an_npu_gets_its_own_build_under_the_same_name(hub: Hub) -> None:
    hub_repositories.chat(hub.root, "OpenVINO/Qwen3-8B-int4-ov")
    hub_repositories.chat(hub.root, "OpenVINO/Qwen3-8B-int4-cw-ov")
    assert pull("qwen3:8b", "NPU").repo == "OpenVINO/Qwen3-8B-int4-cw-ov"
    row = Model.objects.get(name="qwen3:8b")
    assert (row.source, row.kind) == ("OpenVINO/Qwen3-8B-int4-cw-ov", "chat")
    assert pull("qwen3:8b").repo == "OpenVINO/Qwen3-8B-int4-ov"
    assert Model.objects.get(name="qwen3:8b").source == "OpenVINO/Qwen3-8B-int4-ov"


def test_a_revision_is_installed_beside_the_latest(hub: Hub) -> None:
    old = hub_repositories.chat(hub.root)
    hub_repositories.publish(hub.root, hub_repositories.CHAT, hub_repositories.chat_files(), revision="v2")
    pull("tiny/chat")
    pull("hf.co/tiny/chat@v2")
    rows = {row.name: row.revision for row in Model.objects.exclude(source="")}
    assert rows.keys() == {"tiny/chat:latest", "hf.co/tiny/chat:v2"}
    assert rows["tiny/chat:latest"] == old != rows["hf.co/tiny/chat:v2"]


@pytest.mark.parametrize(("configured", "build"), [("NPU", "int4-cw-ov"), ("CPU", "int4-ov")])
def test_a_machine_with_an_npu_gets_the_npus_build_unless_it_is_not_to_be_used(
    settings: Any, configured: str, build: str
) -> None:
    settings.ENGINE = structs.replace(settings.ENGINE, device=configured)
    Device.objects.create(name="NPU")
    assert pulls.request("qwen3:8b").repo == f"OpenVINO/Qwen3-8B-{build}"
