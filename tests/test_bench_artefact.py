"""Benchmark artefacts: what is kept of a run, and the guardrails that a later one must stay within."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningServer, environment
from server_rows import eventually, rows

from inference.bench_sides import BenchError
from npuproxy import bench_compare
from npuproxy.bench_artefact import digest, place

KEPT = "benchmarks/results/all-minilm_embeddings_CPU.json"
"""Made again by `manage.py bench embeddings --device CPU --output` this path, after the old one was moved away."""
EMBEDDED = "SELECT request_id, executed FROM registry_requestlog WHERE endpoint = '/api/embed'"
ROOT = Path(__file__).resolve().parent.parent


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=ROOT,
        env=environment(folder, NPU_PROXY_DATA_DIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_built_in_model_gives_the_vectors_and_tokens_of_the_kept_artefact(
    server: RunningServer, tmp_path: Path
) -> None:
    made = bench(
        server.data_dir,
        "embeddings",
        "--batches",
        "1",
        "4",
        "--repeat",
        "2",
        "--json",
        "--output",
        str(tmp_path),
    )
    assert made.returncode == 0, made.stderr
    artefact = json.loads(made.stdout)
    (path,) = tmp_path.glob("*Z_all-minilm_embeddings_CPU.json")
    assert json.loads(path.read_text("utf-8")) == artefact
    assert [(row["batch"], row["total_tokens"]) for row in artefact["batches"]] == [(1, 9), (4, 81)]
    for row in artefact["batches"]:
        assert len(row["latency_ms"]["all"]) == 2
        assert {"mean", "p50", "p95", "p99", "per_text"} <= row["latency_ms"].keys()
        assert row["tokens_per_sec"] > 0 < row["tokenize_time_ms"]
    assert (artefact["warm_ups_discarded"], artefact["device"]) == (2, "CPU")
    assert artefact["server_memory_bytes"] > 100e6
    held = bench(server.data_dir, "compare", KEPT, str(path), "--only", "digest", "tokens")
    assert held.returncode == 0, held.stdout + held.stderr


def test_all_of_an_artefact_is_of_the_one_device_that_it_names(
    npu_server: RunningServer, tmp_path: Path
) -> None:
    """Without it one text goes to the NPU and five go to the CPU."""
    path = tmp_path / "made.json"
    sizes = ("--batches", "1", "5", "--repeat", "1")
    made = bench(npu_server.data_dir, "embeddings", *sizes, "--output", str(path), "--json")
    assert made.returncode == 0, made.stderr
    marked = httpx.post(
        f"{npu_server.url}/api/embed",
        json={"model": "all-minilm", "input": "the last"},
        headers={"X-Request-ID": "after-the-artefact"},
        timeout=60,
    )
    assert marked.is_success
    eventually(lambda: rows(npu_server, f"{EMBEDDED} AND request_id = 'after-the-artefact'"))
    seen = rows(npu_server, f"{EMBEDDED} ORDER BY id DESC LIMIT 6")[
        1:
    ]  # two warm-ups, two sizes, the digest's
    assert {row["executed"] for row in seen} == {json.loads(made.stdout)["device"]}
    held = bench(npu_server.data_dir, "compare", KEPT, str(path), "--only", "digest", "tokens")
    assert held.returncode == 0, held.stdout + held.stderr
    assert "8 at once is in the old one alone" in held.stdout
    again = bench(npu_server.data_dir, "embeddings", *sizes, "--output", str(path))
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


def test_where_nothing_can_be_written_nothing_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        place(tmp_path / "file" / "folder")
    refused = bench(tmp_path, "embeddings", "--output", "/proc/nope")
    assert (refused.returncode, "/proc/nope" in refused.stderr) == (1, True)
    wrong = bench(tmp_path, "embeddings", "--batches", "0")
    assert "'0' is no whole number from 1 to 1000" in wrong.stderr


def test_a_corpus_goes_through_the_tokenizer(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one\n\ntwo words\n", "utf-8")
    made = bench(
        tmp_path, "tokenizer", "--repeat", "2", "--corpus", str(corpus), "--json", "--output", str(tmp_path)
    )
    assert made.returncode == 0, made.stderr
    artefact = json.loads(made.stdout)
    assert (artefact["texts"], artefact["total_tokens"], len(artefact["latency_ms"]["all"])) == (2, 7, 2)
    assert artefact["latency_ms"]["p50"] == pytest.approx(artefact["latency_ms"]["mean"], abs=0.002)
    missing = bench(tmp_path, "tokenizer", "--corpus", str(tmp_path / "none.txt"))
    assert (missing.returncode, "none.txt" in missing.stderr) == (1, True)
    chat = bench(tmp_path, "embeddings", "--model", "demo")
    assert "'demo' makes no embeddings" in chat.stderr


# --- the guardrails ---------------------------------------------------------------------------------------------


def artefact(**changes: Any) -> dict[str, Any]:
    slices = [[0.1, -0.2], [0.3, 0.04]]
    rows = [{"batch": 4, "avg_tokens_per_text": 15.0, "tokens_per_sec": 1000.0}]
    made = {
        "kind": "embeddings",
        "model": "m",
        "machine": "one",
        "device": "CPU",
        "slices": slices,
        "batches": rows,
    }
    return made | {"digest": digest(slices)} | changes


def corpus(**changes: Any) -> dict[str, Any]:
    made = {"kind": "tokenizer", "model": "m", "texts": 2, "characters": 9, "corpus_digest": "a"}
    return made | {"avg_tokens_per_text": 3.5, "tokens_per_sec": 1000.0} | changes


def judged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, bool | None]:
    pair = (bench_compare.parsed(old), bench_compare.parsed(new))
    return {row.guardrail: row.holds for row in bench_compare.compare(*pair)}


@pytest.mark.parametrize(
    ("field", "value", "broken"),
    [
        ("tokens_per_sec", 901.0, ""),
        ("tokens_per_sec", 899.0, "rate"),
        ("tokens_per_sec", 5000.0, ""),
        ("avg_tokens_per_text", 16.0, ""),
        ("avg_tokens_per_text", 16.1, "tokens"),
        ("avg_tokens_per_text", 13.9, "tokens"),
    ],
)
def test_rate_and_tokens_may_move_as_far_as_the_guardrails(field: str, value: float, broken: str) -> None:
    new = deepcopy(artefact())
    new["batches"][0][field] = value
    found = judged(artefact(), new)
    assert [name for name, holds in found.items() if not holds] == ([broken] if broken else [])


@pytest.mark.parametrize("other", [{"machine": "two"}, {"device": "NPU"}])
def test_other_vectors_are_allowed_to_another_processor_or_device_by_a_rounding_alone(
    other: dict[str, str],
) -> None:
    near, far = [[0.111, -0.2], [0.3, 0.04]], [[0.16, -0.2], [0.3, 0.04]]
    assert digest(near) != digest(artefact()["slices"])
    for changes, slices, holds in (({}, near, False), (other, near, True), (other, far, False)):
        new = artefact(**changes, slices=slices, digest=digest(slices))
        assert judged(artefact(), new)["digest"] is holds


def test_rates_of_two_devices_are_not_compared() -> None:
    new = artefact(device="NPU")
    new["batches"] = [{"batch": 4, "avg_tokens_per_text": 15.0, "tokens_per_sec": 1.0}]
    assert judged(artefact(), new) == {"digest": True, "tokens": True, "rate": None}


@pytest.mark.parametrize(
    ("old", "changes"),
    [
        (artefact, {"model": "other"}),
        (artefact, corpus()),
        (artefact, {"slices": [[0.1]], "digest": "other"}),
        (corpus, {"corpus_digest": "b"}),
        (corpus, {"corpus_digest": "", "characters": 10}),
    ],
)
def test_what_is_not_alike_is_not_compared(
    old: Callable[..., dict[str, Any]], changes: dict[str, Any]
) -> None:
    with pytest.raises(BenchError, match=r"cannot be compared|not of the same"):
        judged(old(), old(**changes))


@pytest.mark.parametrize("lost", ["digest", "machine", "batches", "kind"])
def test_half_an_artefact_is_told_in_one_line(lost: str, tmp_path: Path) -> None:
    half = artefact()
    del half[lost]
    path = tmp_path / "half.json"
    path.write_text(json.dumps(half), "utf-8")
    with pytest.raises(BenchError, match=f"half.json is no artefact .*{lost}"):
        bench_compare.read(path)
