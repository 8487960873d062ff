"""`manage.py prune` removes what nobody needs, says how large it was, and touches nothing that is in use."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve
from server_rows import eventually, manage, rows

NPU = {"NPU_PROXY_NPU_EMULATION": "true"}
DAY_S = 24 * 3600.0


def prune(data_dir: Path, *arguments: str) -> set[tuple[str, str]]:
    """Kind and reason of what was found."""
    done = manage(data_dir, "prune", *arguments, "--json", **NPU)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert all(entry["removed"] is ("--dry-run" not in arguments) for entry in found)
    assert all(entry["size_bytes"] > 0 or entry["kind"] == "cache row" for entry in found)
    return {(entry["kind"], entry["why"]) for entry in found}


def left_behind(path: Path, age_s: float = DAY_S) -> Path:
    """A folder with a file in it that nobody has written to for so long."""
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"x" * 5000)
    for each in (path / "file", path):
        os.utime(each, (time.time() - age_s, time.time() - age_s))
    return path


def execute(data_dir: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(data_dir / "npuproxy.sqlite3", timeout=30)) as database, database:
        assert database.execute(statement, values).rowcount == 1


def cache_row(data_dir: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(data_dir / "npuproxy.sqlite3", timeout=30)) as database:
        database.row_factory = sqlite3.Row
        (row,) = database.execute("select * from registry_compilecache where device = 'NPU'").fetchall()
        return dict(row)


@pytest.fixture
def warmed(tmp_path: Path) -> Path:
    """A data folder whose `demo` was compiled for the emulated NPU."""
    data_dir = tmp_path / "data"
    done = manage(data_dir, "warmup", "demo", "--device", "NPU", **NPU)
    assert done.returncode == 0, done.stderr
    return data_dir


def test_a_cache_goes_when_driver_version_or_model_changed_and_all_takes_the_good_ones_too(
    warmed: Path,
) -> None:
    row = cache_row(warmed)
    folder = Path(row["path"])
    assert prune(warmed) == set(), "a cache that the next load reads"
    assert folder.is_dir()

    execute(warmed, "update registry_compilecache set driver = '1.2.3'")
    assert prune(warmed, "--dry-run") == {("compile cache", "made by driver 1.2.3, now emulated")}
    execute(warmed, "update registry_compilecache set driver = 'emulated', openvino = '2020.1'")
    assert prune(warmed, "--dry-run") == {
        ("compile cache", f"made by OpenVINO 2020.1, now {row['openvino']}")
    }
    execute(warmed, "update registry_compilecache set openvino = ?", row["openvino"])
    orphan = left_behind(warmed / "cache" / ("a" * 64) / folder.name)
    strange = left_behind(warmed / "cache" / "notes" / "mine")
    assert prune(warmed) == {("compile cache", "its model is gone")}
    assert not orphan.parent.exists()
    assert folder.is_dir()
    assert strange.is_dir()

    done = manage(warmed, "prune", "--all", **NPU)
    assert "demo:latest on NPU: made again by the next load" in done.stdout
    assert "MB was freed." in done.stdout
    assert [path.name for path in (warmed / "cache").iterdir()] == ["notes"]


def test_rows_without_folders_and_folders_without_rows_go(warmed: Path) -> None:
    folder = Path(cache_row(warmed)["path"])
    folder.rename(folder.with_name("elsewhere"))
    for path in (*folder.with_name("elsewhere").iterdir(), folder.with_name("elsewhere")):
        os.utime(path, (time.time() - DAY_S, time.time() - DAY_S))
    assert prune(warmed) == {("cache row", "its folder is gone"), ("compile cache", "it has no row")}
    assert manage(warmed, "prune", **NPU).stdout == "Nothing to remove.\n"


def test_partial_files_go_unless_a_pull_or_somebody_without_a_row_is_at_them(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert prune(data_dir) == set()
    staging = data_dir / "models" / ".staging"
    dead, grave = left_behind(staging / "dead=latest"), left_behind(staging / "removed-x=latest-0123456789ab")
    old_import = left_behind(staging / "import-old")
    pulled, fresh = left_behind(staging / "pulled=latest"), left_behind(staging / "new=latest", age_s=600)
    converting = left_behind(staging / "convert-now", age_s=3 * 3600)
    pull = "from registry.models import *; Download.objects.create(name='pulled:latest', repo='a/b')"
    assert manage(data_dir, "shell", "-c", pull).returncode == 0
    assert {kind for kind, _ in prune(data_dir)} == {"partial files"}
    assert not any(path.exists() for path in (dead, grave, old_import))
    assert all(path.is_dir() for path in (pulled, fresh, converting))
    assert len(prune(data_dir, "--all")) == 1
    assert not fresh.exists()
    assert pulled.is_dir()


def test_model_folders_and_sent_files_without_rows_go_and_what_a_user_put_there_stays(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert prune(data_dir) == set()
    models = data_dir / "models"
    orphan = left_behind(models / "gone=latest-0123456789ab")
    users = left_behind(models / "my-own-model")
    blob = models / ".blobs" / f"sha256-{'b' * 64}"
    young = models / ".blobs" / f"sha256-{'c' * 64}"
    blob.parent.mkdir()
    for path in (blob, young):
        path.write_bytes(b"weights")
    os.utime(blob, (time.time() - DAY_S, time.time() - DAY_S))
    assert prune(data_dir) == {
        ("model files", "no model refers to it"),
        ("sent file", "no model was made of it"),
    }
    assert not orphan.exists()
    assert not blob.exists()
    assert users.is_dir()
    assert young.is_file()


def npu_answer(server: RunningServer) -> httpx.Response:
    body = {"model": "demo", "prompt": "hello", "stream": False, "options": {"num_predict": 2}}
    headers = {"X-NPU-Proxy-Device": "NPU", "X-Target-Strict": "true"}
    return httpx.post(f"{server.url}/api/generate", json=body, headers=headers, timeout=120)


def test_what_a_running_server_uses_stays_whatever_is_asked_for(serve: Serve) -> None:
    server = serve(**NPU)
    orphan = left_behind(server.data_dir / "cache" / ("a" * 64) / "NPU_emulated_2020.1")
    assert npu_answer(server).status_code == 200
    eventually(lambda: rows(server, "select 1 from registry_compilecache where device = 'NPU'"))
    execute(server.data_dir, "update registry_compilecache set driver = 'another' where device = 'NPU'")
    assert prune(server.data_dir, "--all") == {("compile cache", "its model is gone")}
    assert not orphan.exists()
    assert Path(cache_row(server.data_dir)["path"]).is_dir()
    assert npu_answer(server).status_code == 200
