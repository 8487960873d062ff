"""`manage.py warmup` with and without a running server, and NPU_PROXY_WARMUP at a server's start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from conftest import ROOT, RunningServer, Serve, check_all_gone, environment, start_server
from server_rows import eventually, manage, rows

NPU = {"NPU_PROXY_NPU_EMULATION": "true"}


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("warm"), **NPU)
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def loaded(server: RunningServer) -> set[tuple[str, bool]]:
    """Names, and whether they are on something else than the CPU."""
    models = httpx.get(f"{server.url}/api/ps", timeout=30).json()["models"]
    return {(entry["name"], entry["size_vram"] > 0) for entry in models}


def warm(data_dir: Path, *arguments: str, **variables: str) -> list[dict[str, Any]]:
    done = manage(data_dir, "warmup", *arguments, "--json", **variables)
    assert done.returncode == 0, done.stderr
    result: list[dict[str, Any]] = json.loads(done.stdout)
    return result


def test_the_running_server_loads_them_on_every_device_and_keeps_them(emulated: RunningServer) -> None:
    done = warm(emulated.data_dir, "demo", "all-minilm")
    assert {(one["model"], one["device"], one["executed"]) for one in done} == {
        (model, device, executed)
        for model in ("demo:latest", "all-minilm:latest")
        for device, executed in (("NPU", "NPU (emulated)"), ("CPU", "CPU"))
    }
    for one in done:
        assert one["server"] == emulated.url
        assert one["ttft_s"] > 0
        assert one["tokens_per_s"] > 0
        assert one["error"] == ""
        assert one["cache_bytes"] is None, "that is the server's own business"
    assert loaded(emulated) == {(one["model"], one["device"] == "NPU") for one in done}
    again = manage(emulated.data_dir, "warmup", "demo", "--device", "cpu")
    assert again.returncode == 0, again.stderr
    head, line = again.stdout.splitlines()
    assert head.split()[:2] == ["MODEL", "DEVICE"]
    assert line.split()[:3] == ["demo:latest", "CPU", "CPU"]
    assert "was loaded" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope",), "model 'nope' not found"),
        (("demo", "--device", "TPU"), "--device: 'TPU' is not a device"),
        (("demo", "--device", "GPU.7"), "this machine has no device GPU.7; it has CPU, NPU"),
        ((), "name a model, or set NPU_PROXY_WARMUP; installed are demo:latest"),
    ],
)
def test_what_is_unknown_is_named_with_what_there_is(
    emulated: RunningServer, arguments: tuple[str, ...], words: str
) -> None:
    done = manage(emulated.data_dir, "warmup", *arguments)
    assert done.returncode == 1
    assert words.partition(";")[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_a_device_refuses_fails_with_the_figures(serve: Serve) -> None:
    server = serve(NPU_PROXY_MEMORY_BUDGET="50MB")
    done = manage(server.data_dir, "warmup", "demo")
    assert done.returncode == 1
    assert "demo:latest on CPU: " in done.stderr
    assert "NPU_PROXY_MEMORY_BUDGET allows 52 MB" in done.stderr
    assert "1 of 1 did not succeed" in done.stderr


def test_without_a_server_the_compile_cache_is_filled_and_the_next_server_only_reads_it(
    tmp_path: Path, serve: Serve
) -> None:
    data_dir = tmp_path / "data"
    first = manage(data_dir, "warmup", "demo", "--device", "NPU", **NPU)
    assert first.returncode == 0, first.stderr
    assert "No server is running: compile caches are filled for the next one." in first.stderr
    assert "filled" in first.stdout
    folder = next((data_dir / "cache").glob("*/NPU_emulated_*"))
    server = serve(
        NPU_PROXY_DATA_DIR=str(data_dir), NPU_PROXY_WARMUP="demo", NPU_PROXY_WARMUP_DEVICES="NPU", **NPU
    )
    (row,) = rows(server, "select path, size_bytes, created_at, used_at from registry_compilecache")
    assert row["path"] == str(folder)
    eventually(lambda: ("demo:latest", True) in loaded(server))
    server.stop()
    (after,) = rows(server, "select created_at, used_at from registry_compilecache")
    assert after["created_at"] == row["created_at"], "it was only read"
    assert after["used_at"] > row["used_at"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals are not on Windows")
def test_ctrl_c_ends_it_and_its_workers_at_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "warmup", "demo", "--device", "NPU"],
        cwd=ROOT,
        env=environment(tmp_path, NPU_PROXY_DATA_DIR=str(data_dir), **NPU),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "No server is running" in process.stderr.readline()
    eventually(lambda: len(psutil.Process(process.pid).children(recursive=True)) >= 1)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "", "neither a traceback nor a complaint"
    check_all_gone(family)


def test_models_and_devices_of_the_environment_are_loaded_at_the_start(serve: Serve) -> None:
    server = serve(NPU_PROXY_WARMUP="nope,demo,embedding", NPU_PROXY_WARMUP_DEVICES="CPU")
    eventually(lambda: loaded(server) == {("demo:latest", False), ("all-minilm:latest", False)})
    eventually(lambda: "warm-up: all-minilm:latest is loaded on CPU" in server.log())
    assert "warm-up: nope on CPU: model 'nope' not found" in server.log()
