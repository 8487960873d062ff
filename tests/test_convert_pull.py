"""A pull of a repository without OpenVINO IR: GGUF is read here, safetensors are converted where somebody consented."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import converter_wheels
import gguf_models
import hub_repositories
import pytest
from hub_process import Hub
from imports import answer, left_in, pids_in, wait_until_gone

from inference.errors import BadRequest
from registry import builtin, convert, pull_run, pulls
from registry.models import Download, Model
from registry.refusals import ConverterMissing

pytestmark = pytest.mark.django_db(transaction=True)
REPO = "tiny/weights"


@pytest.fixture(autouse=True)
def own_models(settings: Any, tmp_path: Path, hub: Hub) -> Path:
    settings.MODEL_PATH = tmp_path / "models"
    settings.DATA_DIR = tmp_path / "data"
    settings.HF_ENDPOINT = hub.url
    settings.CONVERT = "ask"
    return tmp_path / "models"


@pytest.fixture
def with_converter(
    settings: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins, settings.DATA_DIR = converter_wheels.installed(tmp_path_factory.getbasetemp())
    converter_wheels.use(monkeypatch, pins)


def publish_weights(hub: Hub, folder: Path, **wish: Any) -> str:
    source = converter_wheels.repository(folder, **wish)
    return hub_repositories.publish(hub.root, REPO, {path.name: path for path in source.iterdir()})


def work(download: Download) -> Download:
    claimed = pulls.claim("test", download.pk)
    assert claimed is not None
    pull_run.work(claimed, threading.Event())
    claimed.refresh_from_db()
    return claimed


def pull(name: str, **wish: str) -> Download:
    return work(pulls.request(name, **wish))


def said_to_the_exporter(row: Model) -> list[str]:
    said: list[str] = json.loads((Path(row.path) / "openvino_config.json").read_text())["arguments"]
    return said


def test_a_gguf_file_is_pulled_and_answers_as_its_weights_do(
    hub: Hub, tmp_path: Path, own_models: Path
) -> None:
    builtin.sync_builtin_models()
    file = gguf_models.write_demo(tmp_path / "tiny-Q8_0.gguf", "Q8_0")
    hub_repositories.publish(hub.root, "tiny/gguf", {file.name: file, "README.md": b"# tiny"})
    ended = pull("tiny/gguf")
    assert ended.state == Download.States.DONE, ended.error
    row = Model.objects.get(name="tiny/gguf:latest")
    assert (row.format, row.source, row.revision) == ("gguf", "tiny/gguf", ended.commit)
    assert not any(path.suffix == ".gguf" for path in Path(row.path).iterdir())
    assert answer(row) == answer(Model.objects.get(name="demo:latest"))
    assert left_in(own_models) == [Path(row.path).name]


def test_a_gguf_file_that_does_not_run_ends_with_the_fault(
    hub: Hub, tmp_path: Path, own_models: Path
) -> None:
    file = gguf_models.write_demo(tmp_path / "tiny-F16.gguf", architecture="mamba")
    hub_repositories.publish(hub.root, "tiny/gguf", {file.name: file})
    ended = pull("tiny/gguf")
    assert (ended.state, ended.error_code) == (Download.States.FAILED, "not_usable")
    assert "'tiny-F16.gguf' has the architecture 'mamba'; llama, qwen2, qwen3 run here" in ended.error
    assert not Model.objects.exists()


@pytest.mark.parametrize(
    ("setting", "words"), [("ask", "NPU_PROXY_CONVERT=yes"), ("no", "NPU_PROXY_CONVERT=no")]
)
def test_without_consent_no_weight_is_fetched(
    hub: Hub, tmp_path: Path, own_models: Path, settings: Any, setting: str, words: str
) -> None:
    publish_weights(hub, tmp_path / "w")
    settings.CONVERT = setting
    ended = pull(REPO)
    assert (ended.state, ended.error_code) == (Download.States.FAILED, "not_usable")
    assert words in ended.error
    assert "/api/search" in ended.error
    assert hub.requests("safetensors") == []
    assert left_in(own_models) == []


def test_with_the_converter_it_becomes_a_model_of_its_commit(
    hub: Hub, tmp_path: Path, own_models: Path, with_converter: None
) -> None:
    commit = publish_weights(hub, tmp_path / "w")
    ended = pull(REPO)
    assert ended.state == Download.States.DONE, ended.error
    row = Model.objects.get(name=f"{REPO}:latest")
    assert (row.source, row.revision, row.kind) == (REPO, commit, "chat")
    assert said_to_the_exporter(row)[-4:-2] == ["--weight-format", "int4"]
    assert not any(path.suffix == ".safetensors" for path in Path(row.path).iterdir())
    assert left_in(own_models) == [Path(row.path).name]
    assert answer(row)


def test_for_an_npu_it_is_symmetric_and_channel_wise(hub: Hub, tmp_path: Path, with_converter: None) -> None:
    publish_weights(hub, tmp_path / "w")
    pull(REPO, device="NPU")
    said = said_to_the_exporter(Model.objects.get(name=f"{REPO}:latest"))
    assert said[-7:] == ["--weight-format", "int4", "--sym", "--ratio", "1.0", "--group-size", "-1"]


def test_a_conversion_that_fails_names_the_repository(
    hub: Hub, tmp_path: Path, own_models: Path, with_converter: None
) -> None:
    publish_weights(hub, tmp_path / "w", fail="no such layer")
    ended = pull(REPO)
    assert ended.state == Download.States.FAILED
    assert ended.error == f"the conversion of '{REPO}' failed: ValueError: no such layer"
    assert not Model.objects.exists()
    assert not list(own_models.glob("*=*"))


def test_a_cancellation_ends_the_conversion_and_leaves_nothing(
    hub: Hub, tmp_path: Path, own_models: Path, with_converter: None
) -> None:
    pids = tmp_path / "pids"
    publish_weights(hub, tmp_path / "w", silent=str(pids))
    download = pulls.request(REPO)
    phases: list[str] = []

    def cancel() -> None:
        pids_in(pids)
        deadline = time.monotonic() + 30  # the row is written a few times a second
        while (
            row := Download.objects.get(pk=download.pk)
        ).phase != "convert" and time.monotonic() < deadline:
            time.sleep(0.05)
        phases.append(row.phase)
        pulls.cancel(row)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    ended = work(download)
    canceller.join(30)
    assert (ended.state, phases) == (Download.States.CANCELLED, ["convert"])
    wait_until_gone(*pids_in(pids))
    assert left_in(own_models) == []


def test_another_precision_is_a_model_of_its_own(hub: Hub, tmp_path: Path, with_converter: None) -> None:
    publish_weights(hub, tmp_path / "w")
    pull(REPO)
    first = Model.objects.get(name=f"{REPO}:latest")
    ended = work(convert.request(first, "int8"))
    assert ended.state == Download.States.DONE, ended.error
    second = Model.objects.get(name=f"{REPO}:int8")
    assert (second.source, second.revision) == (first.source, first.revision)
    assert said_to_the_exporter(second)[-2:] == ["--weight-format", "int8"]
    assert Model.objects.filter(pk=first.pk).exists()


def test_what_has_openvino_ir_of_its_own_is_not_converted(hub: Hub, with_converter: None) -> None:
    hub_repositories.chat(hub.root)
    pull(hub_repositories.CHAT)
    ended = work(convert.request(Model.objects.get(), "int4-npu"))
    assert ended.state == Download.States.FAILED
    assert "has OpenVINO IR and nothing in int4-npu" in ended.error


def test_a_wish_that_cannot_be_granted_is_refused_at_once(
    hub: Hub, with_converter: None, settings: Any
) -> None:
    hub_repositories.chat(hub.root)
    pull(hub_repositories.CHAT)
    model = Model.objects.get()
    with pytest.raises(BadRequest, match="precision: 'fp64' is none of int4, int8, int4-npu"):
        convert.request(model, "fp64")
    settings.CONVERT = "no"
    with pytest.raises(ConverterMissing, match="NPU_PROXY_CONVERT=no"):
        convert.request(model, "int4")
    model.revision = ""
    with pytest.raises(BadRequest, match="came from no repository; import its safetensors folder again"):
        convert.request(model, "int4")
    assert not pulls.any_active()


def test_openvino_ir_without_a_tokenizer_is_refused_before_it_is_fetched(hub: Hub, own_models: Path) -> None:
    files = hub_repositories.chat_files()
    del files["tokenizer.json"]
    hub_repositories.publish(hub.root, "tiny/half", files)
    ended = pull("tiny/half")
    assert (ended.state, ended.error_code) == (Download.States.FAILED, "no_model_files")
    assert "has no tokenizer.json" in ended.error
    assert hub.requests("openvino_model.bin") == []
    assert left_in(own_models) == []
