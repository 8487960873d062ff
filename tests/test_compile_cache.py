"""Compile caches of the emulated NPU: filled by the first load, read by the next, never trusted blindly."""

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest
from engines import DEMO, MINILM, ask, events_of, run, running_engine, start_of, text_of, until

from inference import compile_cache
from inference.compile_cache import SEAL, CompileCacheKey, CompileCacheUse
from inference.reports import LoadReport
from inference.types import LoadRequest, ModelSpec, Placement

ON_NPU = Placement(device="NPU", strict=True)


def load(cache: Path, spec: ModelSpec = DEMO, device: str = "NPU") -> tuple[CompileCacheUse | None, str]:
    """What a fresh server's load did with its cache, and what the model then says."""
    reports: list[LoadReport] = []
    said: list[str] = []

    async def scenario() -> None:
        async with running_engine(
            device="NPU", npu_emulation=True, cache_dir=cache, on_load=reports.append
        ) as engine:
            placement = Placement(device=device, strict=True)
            await engine.load(spec, LoadRequest(model="m", placement=placement))
            if spec.kind == "chat":
                events = await events_of(engine, spec, ask(placement=placement))
                assert start_of(events).route.executed == ("NPU (emulated)" if device == "NPU" else device)
                said.append(text_of(events))

    run(scenario, 120)
    (report,) = reports
    return report.cache, said[0] if said else ""


@pytest.fixture
def filled(tmp_path: Path) -> CompileCacheUse:
    use, _ = load(tmp_path)
    assert use is not None
    return use


def blob_of(use: CompileCacheUse) -> Path:
    (blob,) = (path for path in use.path.iterdir() if path.name != SEAL)
    return blob


def test_the_first_load_fills_a_folder_for_model_device_driver_and_version_and_the_next_only_reads_it(
    tmp_path: Path, filled: CompileCacheUse
) -> None:
    assert filled.compiled
    assert filled.key.digest == DEMO.digest
    assert (filled.key.device, filled.key.driver) == ("NPU", "emulated")
    assert filled.path.parent == tmp_path / DEMO.digest
    assert filled.path.name == f"NPU_emulated_{filled.key.openvino}"
    assert filled.size_bytes == compile_cache.size_bytes(filled.path) > 1_000_000
    before = blob_of(filled).stat().st_mtime_ns
    again, _ = load(tmp_path)
    assert again is not None
    assert not again.compiled
    assert blob_of(again).stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["one bit", "half of it", "no seal", "a stranger"])
def test_a_cache_that_is_not_as_it_was_sealed_is_built_again(
    tmp_path: Path, filled: CompileCacheUse, damage: str
) -> None:
    blob = blob_of(filled)
    data = bytearray(blob.read_bytes())
    if damage == "one bit":
        data[len(data) // 12] ^= 1  # the runtime would load it without a word
        blob.write_bytes(data)
    elif damage == "half of it":
        blob.write_bytes(data[: len(data) // 2])
    elif damage == "no seal":
        (filled.path / SEAL).unlink()
    else:
        (filled.path / "1.blob").write_bytes(data)
    use, text = load(tmp_path)
    assert use is not None
    assert use.compiled
    assert {path.name for path in use.path.iterdir()} == {blob_of(use).name, SEAL}
    assert text == load(tmp_path, device="CPU")[1]


def test_a_worker_that_dies_while_it_reads_its_cache_is_followed_by_one_that_builds_it_again(
    tmp_path: Path, filled: CompileCacheUse, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[LoadReport] = []

    async def scenario() -> None:
        async with running_engine(
            device="NPU", npu_emulation=True, cache_dir=tmp_path, on_load=reports.append
        ) as engine:
            wish = LoadRequest(model="m", placement=ON_NPU)
            loading = asyncio.create_task(engine.load(DEMO, wish))
            await until(lambda: any(model.pid for model in engine.snapshot().models))
            (model,) = engine.snapshot().models
            assert model.state == "loading"
            os.kill(model.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            loaded = await loading
            assert (loaded.state, loaded.device) == ("ready", "NPU")
            assert loaded.pid != model.pid

    before = blob_of(filled).stat().st_mtime_ns
    with caplog.at_level(logging.WARNING):
        run(scenario, 120)
    (report,) = reports
    assert report.cache is not None
    assert report.cache.compiled
    assert blob_of(report.cache).stat().st_mtime_ns > before
    assert "did not load on NPU with its compile cache, which is built again" in caplog.text


def test_the_cpu_keeps_no_cache(tmp_path: Path) -> None:
    use, _ = load(tmp_path, device="CPU")
    assert use is None
    assert list(tmp_path.iterdir()) == []


def test_embeddings_are_cached_too(tmp_path: Path) -> None:
    first, _ = load(tmp_path, MINILM)
    assert first is not None
    assert first.compiled
    again, _ = load(tmp_path, MINILM)
    assert again is not None
    assert not again.compiled


def test_other_drivers_and_versions_have_folders_of_their_own(tmp_path: Path) -> None:
    keys = [
        CompileCacheKey(digest="a" * 64, device=device, driver=driver, openvino=openvino)
        for device in ("NPU", "GPU.0")
        for driver in ("", "1.2", "../up")
        for openvino in ("2026.4.1", "2027.0.0")
    ]
    folders = {key.folder(tmp_path) for key in keys}
    assert len(folders) == len(keys)
    assert all(folder.resolve().parent == tmp_path.resolve() / ("a" * 64) for folder in folders)
