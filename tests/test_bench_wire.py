"""`bench --wire` measures every dialect that generates, by the driver that serves it, and has a table of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_command import rows, run

from compat_api.generation import DIALECTS
from compat_api.urls import resolve
from npuproxy.bench_wire import BODIES
from npuproxy.management.commands.bench import TABLES


def test_every_dialect_has_a_line_in_every_row() -> None:
    operations = {path: resolve("POST", path).operation for path in BODIES}
    assert {path: operation.name for path, operation in operations.items() if operation} == {
        path: name for path, (name, _) in BODIES.items()
    }
    assert {name for name, _ in BODIES.values()} == set(DIALECTS)


def test_each_dialect_is_measured_in_memory_and_down_to_the_socket(tmp_path: Path) -> None:
    names = rows([row.name for row in TABLES["--wire"]], ["added", "grpc"])
    done = run(tmp_path, "--wire", "--quick", "--json", "--rows", *names)
    assert done.returncode == 0, done.stderr[-3000:]
    whole = json.loads(done.stdout)
    assert whole["failures"] == []
    assert [row["what"] for row in whole["rows"]] == [
        quantity.what for row in TABLES["--wire"] if row.name in names for quantity in row.quantities
    ]
    assert {row["unit"] for row in whole["rows"]} == {"µs"}
    assert {row["aim"] for row in whole["rows"] if row["name"] == "added"} == {"≤ 30 µs"}
    assert all(row["median"] > 0 for row in whole["rows"] if row["name"] in ("socket", "grpc"))
    assert not (tmp_path / "data" / "npuproxy.sqlite3").exists(), "the user's data folder was left alone"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rows", "socket"), "with --wire only: socket"),
        (("--wire", "--rows", "decode"), "without --wire only: decode"),
        (("--registry", "--rows", "added"), "with --wire only: added"),
        (("--wire", "--write", "README.md"), "--write wants the whole table"),
    ],
)
def test_what_belongs_to_another_table_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert words in done.stderr


def test_no_row_has_the_name_of_another() -> None:
    names = [row.name for rows in TABLES.values() for row in rows]
    assert len(names) == len(set(names))
