"""`manage.py models import` of a folder of OpenVINO IR: where it lies, or copied."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, RunningServer, Serve, environment
from django.core.management import CommandError, call_command
from engines import BUILTIN
from imports import QUESTION, answer, left_in

from inference.errors import BadRequest, ModelDamaged
from registry import importer, install, names
from registry.importer import Wishes
from registry.models import Model
from registry.refusals import ImportRefused

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_models(settings: Any, tmp_path: Path) -> Path:
    settings.MODEL_PATH = tmp_path / "models"
    return tmp_path / "models"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """demo as somebody has it: without SHA256SUMS."""
    folder = tmp_path / "Given Model"
    shutil.copytree(BUILTIN / "demo", folder)
    (folder / "SHA256SUMS").unlink()
    return folder


def test_a_folder_is_registered_where_it_lies_and_answers(given: Path, own_models: Path) -> None:
    out = StringIO()
    call_command("models", "import", str(given), "--json", stdout=out)
    facts = json.loads(out.getvalue())
    assert (facts["name"], facts["kind"]) == ("given-model:latest", "chat")
    assert facts["path"] == str(given)
    row = Model.objects.get(name="given-model:latest")
    assert re.fullmatch(r"local: Given Model \([0-9a-f]{8}\)", row.source)
    assert len(row.files) > 5
    assert left_in(own_models) == []
    demo = Model(**(vars_of(row) | {"path": str(BUILTIN / "demo")}))
    assert answer(row) == answer(demo) != ""


def vars_of(row: Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in Model._meta.concrete_fields}


def test_what_was_registered_in_place_is_not_removed_with_its_row(given: Path, own_models: Path) -> None:
    """Not even where it lies among the models that are ours."""
    own_models.mkdir()
    moved = given.rename(own_models / "mine")
    install.remove(importer.adopt(moved))
    assert (moved / "openvino_model.bin").is_file()


def test_a_copy_does_not_need_its_source_again(given: Path, own_models: Path) -> None:
    row = importer.adopt(given, "copied", Wishes(copy=True))
    shutil.rmtree(given)
    assert Path(row.path).parent == own_models
    assert answer(row)
    install.remove(row)
    assert left_in(own_models) == []


def test_a_copy_takes_only_the_files_of_the_model(given: Path) -> None:
    (given / "training.log").write_text("notes")
    (given / "pytorch_model.bin").write_bytes(b"a pickle")
    (given / ".secret").write_text("mine")
    row = importer.adopt(given, wishes=Wishes(copy=True))
    assert not {"training.log", "pytorch_model.bin", ".secret"} & {p.name for p in Path(row.path).iterdir()}


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize(
    "missing",
    [
        "config.json",
        "tokenizer.json",
        "openvino_tokenizer.xml",
        "openvino_detokenizer.bin",
        "openvino_model.bin",
    ],
)
def test_a_folder_that_lacks_a_file_is_refused_by_the_file_s_name(
    given: Path, own_models: Path, missing: str, copy: bool
) -> None:
    (given / missing).unlink()
    with pytest.raises(ImportRefused, match=missing) as caught:
        importer.adopt(given, wishes=Wishes(copy=copy))
    assert str(given.parent) not in str(caught.value)
    assert not Model.objects.exists()
    assert left_in(own_models) == []


@pytest.mark.parametrize("copy", [False, True])
def test_a_file_that_is_not_what_the_list_says_is_named(given: Path, own_models: Path, copy: bool) -> None:
    shutil.copy(BUILTIN / "demo" / "SHA256SUMS", given)
    weights = bytearray((given / "openvino_model.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (given / "openvino_model.bin").write_bytes(weights)
    with pytest.raises(ModelDamaged, match=r"openvino_model\.bin does not match its sha256"):
        importer.adopt(given, wishes=Wishes(copy=copy))
    assert not Model.objects.exists()
    assert left_in(own_models) == []


def test_a_chat_template_that_the_list_leaves_out_is_not_believed(given: Path) -> None:
    lines = (BUILTIN / "demo" / "SHA256SUMS").read_text().splitlines(keepends=True)
    (given / "SHA256SUMS").write_text("".join(line for line in lines if "chat_template" not in line))
    with pytest.raises(ModelDamaged, match=r"does not list chat_template\.jinja"):
        importer.adopt(given)


@pytest.mark.parametrize("copy", [False, True])
def test_a_link_out_of_the_folder_is_refused(
    given: Path, tmp_path: Path, own_models: Path, copy: bool
) -> None:
    (tmp_path / "private").write_text("a key")
    (given / "LICENSE").unlink(missing_ok=True)
    (given / "LICENSE").symlink_to(tmp_path / "private")
    with pytest.raises(ImportRefused, match=r"leads out of it \(LICENSE\)"):
        importer.adopt(given, wishes=Wishes(copy=copy))
    assert not Model.objects.exists()
    assert left_in(own_models) == []


def test_links_of_a_hub_s_cache_are_followed(given: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "c0ffee"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for index, path in enumerate(sorted(path for path in given.iterdir() if path.is_file())):
        path.rename(blobs / str(index))
        (snapshot / path.name).symlink_to(Path("..") / ".." / "blobs" / str(index))
    row = importer.adopt(snapshot, "cached", Wishes(copy=True))
    assert not any(path.is_symlink() for path in Path(row.path).iterdir())


def test_a_name_that_is_taken_is_refused_with_the_way_out(given: Path, tmp_path: Path) -> None:
    importer.adopt(given, "taken")
    other = tmp_path / "other"
    shutil.copytree(given, other)
    with pytest.raises(BadRequest, match="'taken:latest' exists; give another name with --name"):
        importer.adopt(other, "TAKEN")
    assert Model.by_name(names.parse("taken")).get().path == str(given)


def test_a_copy_that_is_registered_in_place_later_leaves_no_folder_behind(
    given: Path, own_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer.adopt(given, "m", Wishes(copy=True))
    assert len(left_in(own_models)) == 1
    assert importer.adopt(given, "m").path == str(given)
    install.bury()
    assert left_in(own_models)[0].startswith("m=latest"), "a server may still be loading from it"
    monkeypatch.setattr(install, "RETIRED_S", 0.0)
    install.bury()
    assert left_in(own_models) == []


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        CommandError, match="'empty' holds no model that is known here; give a folder of OpenVINO"
    ):
        call_command("models", "import", str(tmp_path / "empty"))
    with pytest.raises(CommandError, match="'nowhere' does not exist"):
        call_command("models", "import", str(tmp_path / "nowhere"))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ImportRefused, match="holds pickles alone"):
        importer.adopt(tmp_path / "m")


def imported(server: RunningServer, folder: Path) -> None:
    """`manage.py models import --copy`, by another process than the server."""
    done = subprocess.run(
        [sys.executable, "manage.py", "models", "import", str(folder), "--name", "busy", "--copy"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env=environment(server.data_dir.parent / "home", NPU_PROXY_DATA_DIR=str(server.data_dir)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_model_in_use_is_replaced_without_a_torn_answer(serve: Serve, given: Path) -> None:
    server = serve(NPU_PROXY_DEVICE="CPU")
    imported(server, given)
    models = server.data_dir / "models"
    before = {path.name for path in models.iterdir() if "=" in path.name}
    wish = {
        "model": "busy",
        "prompt": QUESTION,
        "think": False,
        "stream": False,
        "options": {"temperature": 0},
    }
    long = wish | {
        "stream": True,
        "options": {"temperature": 100.0, "top_k": 0, "top_p": 1.0, "num_predict": 1500},
    }
    with httpx.Client(base_url=server.url, timeout=60) as client:
        first = client.post("/api/generate", json=wish).json()["response"]
        with client.stream("POST", "/api/generate", json=long) as stream:
            lines = stream.iter_lines()
            next(lines)
            (given / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, "max_length": 77}))
            imported(server, given)
            last = json.loads(list(lines)[-1])
        assert last["done"] is True
        assert last["done_reason"] in ("length", "stop")
        assert client.post("/api/generate", json=wish).json()["response"] == first != ""
    after = {path.name for path in models.iterdir() if "=" in path.name}
    assert len(before) == 1
    assert len(after - before) == 1
