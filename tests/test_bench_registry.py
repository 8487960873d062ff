"""`bench --registry` measures a full registry over HTTP, counts its queries, and has a table of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_command import rows, run

from npuproxy.bench_registry import ROWS


@pytest.mark.slow
def test_it_measures_every_row_and_a_chat_makes_no_query(tmp_path: Path) -> None:
    names = rows([row.name for row in ROWS], ["queries", "admin"])
    done = run(tmp_path, "--registry", "--quick", "--json", "--rows", *names)
    assert done.returncode == 0, done.stderr[-3000:]
    whole = json.loads(done.stdout)
    assert whole["failures"] == []
    assert [row["what"] for row in whole["rows"]] == [
        quantity.what for row in ROWS if row.name in names for quantity in row.quantities
    ]
    queries = next(row for row in whole["rows"] if row["name"] == "queries")
    assert "0 of them by threads that serve requests" in queries["notes"][0]
    assert not queries["sides"].startswith("idle: 0.0 "), "the counter counts the looks of the idle server"
    admin = [row for row in whole["rows"] if row["name"] == "admin"]
    assert 1 < admin[0]["median"] <= 20
    assert not (tmp_path / "data" / "npuproxy.sqlite3").exists(), "the user's data folder was left alone"


@pytest.mark.parametrize("arguments", [("--rows", "tags"), ("--registry", "--rows", "decode")])
def test_a_row_of_the_other_table_is_refused_by_name(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert arguments[-1] in done.stderr
    assert "--registry" in done.stderr
