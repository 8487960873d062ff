"""`models verify` and its kind: the damaged file is named, and nothing else is."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from registry import builtin, store
from registry.models import Model
from registry.progress import ByteBar
from registry.verification import check_files

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """Demo's row points at a copy of its files that a test may damage."""
    builtin.sync_builtin_models()
    copy = Path(shutil.copytree(builtin.ROOT / "demo", tmp_path / "demo"))
    Model.objects.filter(name="demo:latest").update(path=str(copy), builtin=False)
    return copy


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("models", *arguments, stdout=out)
    return out.getvalue()


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = [
    (flip_a_byte, "openvino_model.bin does not match its sha256"),
    (truncate, "openvino_model.bin has "),
    (Path.unlink, "openvino_model.bin is missing or cannot be read"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=["flipped", "truncated", "missing"])
def test_verify_names_the_damaged_file_and_no_other(demo: Path, damage: Any, words: str) -> None:
    damage(demo / "openvino_model.bin")
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"^1 of \d+ files are damaged; install their models again$"):
        call_command("models", "verify", stdout=out)
    faults = [line for line in out.getvalue().splitlines() if "are good" not in line]
    assert len(faults) == 1
    assert faults[0].startswith(f"demo:latest: {words}")
    assert "all-minilm:latest: " in out.getvalue()


def test_verify_reads_a_file_again_that_was_good_and_kept_its_time(demo: Path) -> None:
    spec = store.find_sync("demo")
    weights = demo / "openvino_model.bin"
    was = weights.stat()
    assert all(check.good for check in check_files(spec))
    flip_a_byte(weights)
    os.utime(weights, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert [check.file for check in check_files(spec) if not check.good] == ["openvino_model.bin"]


def test_verify_of_one_model_reads_only_that_one(demo: Path) -> None:
    (demo / "config.json").unlink()
    assert run("verify", "all-minilm").startswith("all-minilm:latest: ")
    with pytest.raises(CommandError):
        run("verify", "Demo:LATEST")


def test_verify_as_json_has_a_verdict_for_each_file(demo: Path) -> None:
    truncate(demo / "config.json")
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("models", "verify", "demo", "--json", stdout=out)
    (verdict,) = json.loads(out.getvalue())
    assert (verdict["name"], verdict["good"]) == ("demo:latest", False)
    assert [entry["file"] for entry in verdict["files"] if entry["fault"]] == ["config.json"]
    assert len(verdict["files"]) == len(store.find_sync("demo").files)


def test_list_and_show_print_tables_and_json() -> None:
    table = run("list").splitlines()
    assert table[0].split() == [
        "NAME",
        "KIND",
        "PARAMETERS",
        "QUANTIZATION",
        "CONTEXT",
        "SIZE",
        "CAPABILITIES",
        "LAST",
        "USED",
    ]
    assert {line.split()[0] for line in table[1:]} == {"demo:latest", "all-minilm:latest"}
    assert {entry["name"] for entry in json.loads(run("list", "--json"))} == {
        "demo:latest",
        "all-minilm:latest",
    }
    shown = json.loads(run("show", "demo", "--json"))
    assert (shown["name"], shown["context_length"], shown["builtin"]) == ("demo:latest", 4096, True)
    assert {entry["file"] for entry in shown["files"]} >= {"config.json", "openvino_model.bin"}
    text = run("show", "demo")
    assert "context length        4096\n" in text
    assert "openvino_model.bin" in text


REFUSED = [
    (("show", "nope"), r"^model 'nope' not found$"),
    (("show", "../etc"), r"^invalid model name$"),
    (("verify", "demo", "nope"), r"^model 'nope' not found$"),
    (("show", "m:cloud"), r"^ollama cloud is disabled"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_a_model_that_is_not_there_is_one_clear_line(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run(*arguments)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_share_rate_and_time_left_and_clears_its_line() -> None:
    terminal = Terminal()
    with ByteBar(4000, terminal) as bar:
        bar.label = "demo:latest"
        bar.add(1000)
        assert bar.line(2.0) == f"demo:latest  [{'#' * 7:<30}]  25%  500 bytes/s  6 s left"
    assert "demo:latest  [#######" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_the_bar_is_silent_where_nobody_looks_and_bears_an_empty_total() -> None:
    pipe = io.StringIO()
    with ByteBar(0, pipe) as bar:
        bar.add(0)
        assert "100%" in bar.line(0.0)
    assert pipe.getvalue() == ""
