"""Benchmark artefacts: what is kept of a run, and the guardrails that a later one must stay within."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from conftest import RunningServer, environment

from inference.bench_sides import BenchError
from npuproxy.bench_artefact import RESULTS, compare, digest

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


def kept() -> Path:
    """The artefact that stands in the repository."""
    return sorted((ROOT / RESULTS).glob("*_all-minilm_embeddings.json"))[-1]


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
    (path,) = tmp_path.glob("*_all-minilm_embeddings.json")
    assert json.loads(path.read_text("utf-8")) == artefact
    assert [(row["batch"], row["total_tokens"]) for row in artefact["batches"]] == [(1, 9), (4, 81)]
    for row in artefact["batches"]:
        assert len(row["latency_ms"]["all"]) == 2
        assert {"mean", "p50", "p95", "p99", "per_text"} <= row["latency_ms"].keys()
        assert row["tokens_per_sec"] > 0 < row["tokenize_time_ms"]
    assert (artefact["warm_ups_discarded"], artefact["device"]) == (2, "CPU")
    assert artefact["server_memory_bytes"] > 100e6
    held = bench(server.data_dir, "compare", str(kept()), str(path), "--only", "digest", "tokens")
    assert held.returncode == 0, held.stdout + held.stderr


def test_a_corpus_goes_through_the_tokenizer(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one\n\ntwo words\n", "utf-8")
    made = bench(
        tmp_path, "tokenizer", "--repeat", "2", "--corpus", str(corpus), "--json", "--output", str(tmp_path)
    )
    assert made.returncode == 0, made.stderr
    artefact = json.loads(made.stdout)
    assert (artefact["texts"], artefact["total_tokens"], len(artefact["latency_ms"]["all"])) == (2, 7, 2)
    missing = bench(tmp_path, "tokenizer", "--corpus", str(tmp_path / "none.txt"))
    assert (missing.returncode, "none.txt" in missing.stderr) == (1, True)
    chat = bench(tmp_path, "embeddings", "--model", "demo")
    assert "'demo' makes no embeddings" in chat.stderr


# --- the guardrails ---------------------------------------------------------------------------------------------


def artefact(**changes: Any) -> dict[str, Any]:
    slices = [[0.1, -0.2], [0.3, 0.04]]
    rows = [{"batch": 4, "avg_tokens_per_text": 15.0, "tokens_per_sec": 1000.0}]
    made = {"kind": "embeddings", "model": "m", "machine": "one", "slices": slices, "batches": rows}
    return made | {"digest": digest(slices)} | changes


def judged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, bool]:
    return {name: holds for name, holds, _ in compare(old, new)}


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


def test_other_vectors_are_told_and_allowed_to_another_processor_by_a_rounding_alone() -> None:
    near, far = [[0.111, -0.2], [0.3, 0.04]], [[0.16, -0.2], [0.3, 0.04]]
    assert digest(near) != digest(artefact()["slices"])
    for machine, slices, holds in (("one", near, False), ("two", near, True), ("two", far, False)):
        new = artefact(machine=machine, slices=slices, digest=digest(slices))
        assert judged(artefact(), new)["digest"] is holds


@pytest.mark.parametrize("changes", [{"model": "other"}, {"kind": "tokenizer"}])
def test_what_is_not_alike_is_not_compared(changes: dict[str, str]) -> None:
    with pytest.raises(BenchError, match="cannot be compared"):
        list(compare(artefact(), artefact(**changes)))
