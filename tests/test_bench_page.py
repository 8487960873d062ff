"""`bench --page` opens real pages against a server of its own, and tells what they cost."""

from __future__ import annotations

import json
from pathlib import Path

from bench_command import run


def test_open_pages_are_measured(tmp_path: Path) -> None:
    done = run(tmp_path, "--page", "--quick", "--json", "--rows", "page-cpu")
    assert done.stdout, done.stderr[-3000:]
    whole = json.loads(done.stdout)
    (row,) = whole["rows"]
    assert (row["name"], row["unit"], row["aim"]) == ("page-cpu", "%", "≤ 5 %")
    assert not (tmp_path / "data" / "npuproxy.sqlite3").exists(), "the user's data folder was left alone"
