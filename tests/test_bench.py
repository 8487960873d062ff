"""The benchmark runs, prints every row, and a table in a README can be told from one that it did not make."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from bench_command import rows

from inference.bench_sides import BenchError
from inference.bench_table import (
    BEGIN,
    END,
    Aim,
    Failure,
    Quantity,
    Report,
    check,
    json_of,
    of_rounds,
    percentile,
    text,
    write,
)
from inference.builtin.generate_bench_model import FOLDER
from npuproxy.bench_client import Exchange
from npuproxy.management.commands.bench import ROWS

ROOT = Path(__file__).resolve().parent.parent
RATE = Quantity(name="decode", what="decode rate / bare", aim=Aim(0.98, at_most=False))
LOAD = Quantity(name="load", what="load", unit="s", aim=Aim(0.5))
PLAIN = Quantity(name="plain", what="rate of `demo`")
REPORT = Report(
    results=(
        of_rounds(RATE, [0.97, 0.99, 0.984]),
        of_rounds(LOAD, [0.4, 0.61, 0.6], "0.600 / 0.300 s", ["the first one 0.400 s"]),
        of_rounds(PLAIN, [0.5]),
    ),
    failures=(Failure("swap", "no budget"),),
    machine="a machine, 2 cores",
    versions="Python 3",
    date="2026-01-31",
    busy=0.5,
    quick=False,
)


# --- the table --------------------------------------------------------------------------------------------


def test_a_result_is_the_median_of_its_rounds_with_their_extremes() -> None:
    result = of_rounds(RATE, [0.97, 0.99, 0.984])
    assert (result.value, result.low, result.high, result.rounds) == (0.984, 0.97, 0.99, 3)


def test_a_row_without_a_round_says_why() -> None:
    with pytest.raises(BenchError, match="250 tokens against 256"):
        of_rounds(RATE, [], notes=["5 rounds left out: 250 tokens against 256"])


@pytest.mark.parametrize(
    ("quantity", "value", "holds"),
    [
        (RATE, 0.98, True),
        (RATE, 0.9796, True),  # shown as 0.980
        (RATE, 0.9794, False),
        (LOAD, 0.5, True),
        (LOAD, 0.501, False),
        (PLAIN, 7.0, None),
    ],
)
def test_an_aim_holds_for_the_figure_as_it_is_shown(
    quantity: Quantity, value: float, holds: bool | None
) -> None:
    assert quantity.holds(value) is holds


@pytest.mark.parametrize(("share", "value"), [(0.5, 51), (0.99, 100), (0.0, 1), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


def test_the_table_for_people_names_spread_sides_notes_and_what_failed() -> None:
    table = text(REPORT)
    for part in ("0.970 … 0.990 (3)", "0.600 / 0.300 s", "load: the first one", "swap: not measured", "50%"):
        assert part in table


def test_the_json_has_every_row() -> None:
    whole = json.loads(json_of(REPORT))
    assert [(row["name"], row["holds"]) for row in whole["rows"]] == [
        ("decode", True),
        ("load", False),
        ("plain", None),
    ]
    assert whole["failures"] == [{"row": "swap", "reason": "no budget"}]


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(f"# before\n\n{BEGIN}\nthe earlier table\n{END}\n\nafter\n", "utf-8")
    return path


def test_a_written_table_passes_its_own_check_and_leaves_the_rest_alone(readme: Path) -> None:
    write(readme, REPORT)
    assert check(readme, [RATE, LOAD, PLAIN]) == []
    whole = readme.read_text("utf-8")
    assert whole.startswith("# before\n\n")
    assert whole.endswith("\n\nafter\n")
    assert "earlier" not in whole


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("| 0.984 |", "| 0.970 |", "'yes' where 0.970 means 'no'"),
        ("≤ 0.5 s", "≤ 5 s", "the aim is ≤ 0.5 s"),
        ("| 0.600 s |", "| fast |", "no measurement in this unit"),
        ("| rate of `demo` |", "| rate of something |", "row missing: rate of `demo`"),
        ("| rate of `demo` |", "| rate of something |", "row not of the benchmark: rate of something"),
    ],
)
def test_a_table_that_was_touched_is_found_out(readme: Path, old: str, new: str, fault: str) -> None:
    write(readme, REPORT)
    whole = readme.read_text("utf-8")
    assert old in whole
    readme.write_text(whole.replace(old, new), "utf-8")
    assert any(fault in found for found in check(readme, [RATE, LOAD, PLAIN]))


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# nothing\n", "utf-8")
    with pytest.raises(BenchError, match=r"README\.md has no <!-- benchmark -->"):
        write(path, REPORT)


# --- the client -------------------------------------------------------------------------------------------


def test_a_chunked_answer_is_put_together_and_headers_alone_are_no_arrival() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'6\r\n{"a":1\r\n9\r\n}\n{"b":2}\n\r\n0\r\n\r\n'
    exchange = Exchange(
        request=b"", data=head + body, arrivals=[(0.1, len(head)), (0.2, len(head) + 5), (0.3, 999)]
    )
    assert exchange.status == 200
    assert exchange.lines() == [{"a": 1}, {"b": 2}]
    assert exchange.body_arrivals() == (0.2, 0.3)


# --- the commands -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench-cache")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "NPU_PROXY_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Servers that other tests share may make workers meanwhile."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [child for child in left if before.isdisjoint(child.parents())]


def _run(command: Sequence[str], environment: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    whole: dict[str, object] = json.loads(done.stdout)
    assert whole["failures"] == []
    return whole


def _whats(whole: dict[str, object]) -> list[str]:
    rows = whole["rows"]
    assert isinstance(rows, list)
    return [row["what"] for row in rows]


@pytest.mark.slow
def test_the_command_measures_every_row_over_http(environment: dict[str, str], cache: Path) -> None:
    names = rows([row.name for row in ROWS], ["ttft-demo"])
    command = ["manage.py", "bench", "--quick", "--json", "--cache", str(cache)]
    whole = _run([*command, "--rows", *names], environment)
    assert _whats(whole) == [
        quantity.what for row in ROWS if row.name in names for quantity in row.quantities
    ]
    assert (cache / FOLDER / "openvino_model.bin").exists()


@pytest.mark.slow
def test_the_engine_alone_is_measured_without_a_server(environment: dict[str, str], cache: Path) -> None:
    command = ["-m", "inference.bench", "--quick", "--json", "--cache", str(cache)]
    names = rows(["ttft-demo", "kill", "embed-many"], ["ttft-demo"])
    whole = _run([*command, "--rows", *names], environment)
    named = [row for row in ROWS if row.name in names]
    assert set(_whats(whole)) == {quantity.what for row in named for quantity in row.quantities}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_ctrl_c_ends_the_command_and_its_server(environment: dict[str, str], cache: Path) -> None:
    command = [sys.executable, "manage.py", "bench", "--rows", "idle", "--cache", str(cache)]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"window 1" not in process.stderr.readline():
            assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    deadline = time.monotonic() + 10
    while any(child.is_running() for child in family) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(child.is_running() for child in family)


def test_an_unknown_row_is_refused_by_name(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inference.bench", "--rows", "speed"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "speed" in done.stderr
