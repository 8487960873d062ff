"""Safetensors become IR in a child with an environment of its own, once somebody has consented to install that.

The environment is made by pip as ever, of packages that only have the names (tests/converter_wheels.py); what the real
ones make is tested by tests/test_convert_real.py, where somebody asks for it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import converter_wheels
import psutil
import pytest
from conftest import ROOT, environment
from django.core.management import CommandError, call_command
from imports import left_in, pids_in, wait_until_gone

from registry import convert, converter, importer
from registry.convert import Precision, Progress
from registry.importer import Wishes
from registry.models import Model
from registry.refusals import ConversionCancelled, ConversionFailed, ConverterMissing, ImportRefused

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_models(settings: Any, tmp_path: Path) -> Path:
    settings.MODEL_PATH = tmp_path / "models"
    settings.DATA_DIR = tmp_path / "data"
    settings.CONVERT = "ask"
    return tmp_path / "models"


@pytest.fixture
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of versions, in the folder of the packages."""
    return converter_wheels.installed(tmp_path_factory.getbasetemp())[0]


@pytest.fixture
def with_converter(
    settings: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The data folder."""
    pins, settings.DATA_DIR = converter_wheels.installed(tmp_path_factory.getbasetemp())
    converter_wheels.use(monkeypatch, pins)
    return Path(settings.DATA_DIR)


def test_nothing_is_installed_without_consent(tmp_path: Path, own_models: Path) -> None:
    source = converter_wheels.repository(tmp_path / "weights")
    with pytest.raises(ConverterMissing, match=r"takes 1\.6 GB.*--yes.*NPU_PROXY_CONVERT=yes"):
        importer.adopt(source)
    assert not (tmp_path / "data").exists()
    assert left_in(own_models) == []
    assert not Model.objects.exists()


def test_a_server_that_converts_nothing_says_so(tmp_path: Path, settings: Any) -> None:
    settings.CONVERT = "no"
    with pytest.raises(ConverterMissing, match="NPU_PROXY_CONVERT=no"):
        importer.adopt(converter_wheels.repository(tmp_path / "weights"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_the_command_asks_and_takes_no_for_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = converter_wheels.repository(tmp_path / "weights")
    terminal, stdin = os.openpty()
    os.write(terminal, b"n\n")
    with open(stdin, encoding="utf-8") as typed:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdin", typed)
        with pytest.raises(CommandError, match="the converter is not installed"):
            call_command("models", "import", str(source))
    os.close(terminal)
    assert "takes 1.6 GB. Install it now? [y/N]" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def test_what_was_installed_is_whole_alone_and_used_again(
    tmp_path: Path, with_converter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version's environment was there before (tests/converter_wheels.py)."""
    assert [path.name for path in (with_converter / "converter").iterdir()] == [converter.place().name]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    row = importer.adopt(converter_wheels.repository(tmp_path / "weights"), wishes=Wishes(consent=True))
    assert (row.name, row.kind) == ("weights:latest", "chat")
    assert row.source.startswith("local: weights (")


def test_an_installation_that_fails_leaves_nothing(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, own_models: Path
) -> None:
    converter_wheels.use(monkeypatch, wheels)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(ConversionFailed, match=r"installation of the converter failed: ERROR: .*torch==1\.0"):
        importer.adopt(converter_wheels.repository(tmp_path / "weights"), wishes=Wishes(consent=True))
    assert list((tmp_path / "data" / "converter").iterdir()) == []
    assert left_in(own_models) == []


@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("int8", ["--weight-format", "int8"]),
        ("int4", ["--weight-format", "int4", "--group-size-fallback", "adjust"]),
        ("int4-npu", ["--weight-format", "int4", "--sym", "--ratio", "1.0", "--group-size", "-1"]),
    ],
)
def test_the_exporter_is_told_the_precision(
    tmp_path: Path, with_converter: Path, precision: Precision, options: list[str]
) -> None:
    row = importer.adopt(converter_wheels.repository(tmp_path / "w"), wishes=Wishes(precision=precision))
    said = json.loads((Path(row.path) / "openvino_config.json").read_text())["arguments"]
    assert said[:2] == ["export", "openvino"]
    assert said[said.index("--task") + 1] == "text-generation-with-past"
    assert said[-len(options) :] == options


def test_the_exporter_is_offline_and_knows_no_secret(
    tmp_path: Path, with_converter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@h/d")
    row = importer.adopt(converter_wheels.repository(tmp_path / "w"))
    seen = json.loads((Path(row.path) / "openvino_config.json").read_text())["environment"]
    assert seen["HF_HUB_OFFLINE"] == seen["TRANSFORMERS_OFFLINE"] == "1"
    assert not {"HF_TOKEN", "DATABASE_URL"} & seen.keys()
    assert seen["HOME"] != os.environ.get("HOME")


def test_each_phase_is_reported_in_its_order(tmp_path: Path, with_converter: Path) -> None:
    seen: list[Progress] = []
    importer.adopt(converter_wheels.repository(tmp_path / "w"), wishes=Wishes(on_progress=seen.append))
    phases = list(dict.fromkeys(progress.phase for progress in seen))
    assert phases == ["load", "export", "compress", "check"]
    assert {0.5, 1.0} <= {progress.share for progress in seen if progress.phase == "load"}
    assert all(a.elapsed_s <= b.elapsed_s for a, b in pairwise(seen))


def test_its_last_words_are_told_without_a_path(
    tmp_path: Path, with_converter: Path, own_models: Path
) -> None:
    fault = f"cannot make {tmp_path}/deep/model.xml of it"
    source = converter_wheels.repository(tmp_path / "w", fail=fault)
    with pytest.raises(ConversionFailed) as caught:
        importer.adopt(source)
    assert str(caught.value) == "the conversion of 'w' failed: ValueError: cannot make model.xml of it"
    assert left_in(own_models) == []
    assert not Model.objects.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_one_that_the_system_killed_speaks_of_memory(tmp_path: Path, with_converter: Path) -> None:
    with pytest.raises(ConversionFailed, match="killed, for want of memory"):
        importer.adopt(converter_wheels.repository(tmp_path / "w", killed=True))


def test_one_that_ends_well_without_a_model_is_not_believed(
    tmp_path: Path, with_converter: Path, own_models: Path
) -> None:
    with pytest.raises(ConversionFailed, match="ended without a model"):
        importer.adopt(converter_wheels.repository(tmp_path / "w", nothing=True))
    assert left_in(own_models) == []


def test_at_its_deadline_the_whole_family_ends(
    tmp_path: Path, with_converter: Path, own_models: Path
) -> None:
    pids = tmp_path / "pids"
    source = converter_wheels.repository(tmp_path / "w", silent=str(pids))
    with pytest.raises(ConversionFailed, match="did not end within 8 s"):
        importer.adopt(source, wishes=Wishes(deadline_s=8))
    wait_until_gone(*pids_in(pids))
    assert left_in(own_models) == []


def test_a_cancellation_ends_the_whole_family(tmp_path: Path, with_converter: Path, own_models: Path) -> None:
    pids, wanted_gone = tmp_path / "pids", threading.Event()
    source = converter_wheels.repository(tmp_path / "w", silent=str(pids))

    def once_it_runs() -> None:
        pids_in(pids)
        wanted_gone.set()

    threading.Thread(target=once_it_runs, daemon=True).start()
    with pytest.raises(ConversionCancelled):
        importer.adopt(source, wishes=Wishes(cancelled=wanted_gone.is_set))
    wait_until_gone(*pids_in(pids))
    assert left_in(own_models) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_the_exporter_ends_when_who_started_it_is_killed(tmp_path: Path, with_converter: Path) -> None:
    pids, made = tmp_path / "pids", tmp_path / "made"
    source = converter_wheels.repository(tmp_path / "w", silent=str(pids))
    made.mkdir()
    script = (
        "import sys; from pathlib import Path; import django; django.setup()\n"
        "from registry import convert, converter\n"
        "converter.REQUIREMENTS = Path(sys.argv[1])\n"
        "convert.convert(Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    env = environment(
        tmp_path, NPU_PROXY_DATA_DIR=str(with_converter), DJANGO_SETTINGS_MODULE="npuproxy.settings"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(converter.REQUIREMENTS), str(source), str(made)], cwd=ROOT, env=env
    )
    exporter, its_child = pids_in(pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    wait_until_gone(exporter)
    if psutil.pid_exists(its_child):  # the real exporter starts none that outlives it
        os.kill(its_child, signal.SIGKILL)


def test_a_repository_that_brings_code_is_refused_before_a_child_starts(
    tmp_path: Path, with_converter: Path
) -> None:
    source = converter_wheels.repository(tmp_path / "w")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Model"}}))
    with pytest.raises(ImportRefused, match=r"brings code of its own \(auto_map in config\.json\)"):
        importer.adopt(source)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"architectures": ["T5ForConditionalGeneration"]}, "T5ForConditionalGeneration"),
        ({"architectures": []}, "has the architecture ''"),
    ],
)
def test_an_architecture_that_is_not_converted_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    source = converter_wheels.repository(tmp_path / "w")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ImportRefused, match=fault):
        importer.adopt(source, wishes=Wishes(consent=True))


def test_a_shard_that_is_missing_is_named(tmp_path: Path, with_converter: Path) -> None:
    source = converter_wheels.repository(tmp_path / "w")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ImportRefused, match=r"lacks model-00002-of-00002\.safetensors"):
        importer.adopt(source)


@pytest.mark.parametrize(
    ("task", "device", "precision"),
    [
        ("text-generation-with-past", "", "int4"),
        ("text-generation-with-past", "GPU.0", "int4"),
        ("text-generation-with-past", "NPU", "int4-npu"),
        ("feature-extraction", "NPU", "int8"),
    ],
)
def test_the_device_decides_about_the_precision(task: str, device: str, precision: str) -> None:
    assert convert.precision_for(task, device) == precision
