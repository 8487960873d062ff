"""What the real converter makes of real weights: 1.6 GB of packages, so only where somebody asks for it.

    NPU_PROXY_TEST_CONVERTER=/some/folder pytest tests/test_convert_real.py

The converter is installed into that folder, and found there by the next run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors_models
from engines import MINILM, ask, events_of, run, running_engine, start_of, text_of
from imports import QUESTION, left_in
from msgspec import structs
from test_import_onnx import TEXTS, vectors

from inference.types import Placement
from registry import builtin, importer
from registry.convert import PRECISIONS, Precision
from registry.importer import Wishes
from registry.models import Model

FOLDER = os.environ.get("NPU_PROXY_TEST_CONVERTER", "")
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.skipif(
        not FOLDER, reason="NPU_PROXY_TEST_CONVERTER names no folder: no real conversion was tried"
    ),
]
WORDS = {"int8": "INT8", "int4": "INT4", "int4-npu": "INT4"}


@pytest.fixture(autouse=True)
def own_models(settings: Any, tmp_path: Path) -> Path:
    settings.MODEL_PATH = tmp_path / "models"
    settings.DATA_DIR = Path(FOLDER)
    return tmp_path / "models"


def said_on(device: str, row: Model) -> str:
    texts: list[str] = []

    async def scenario() -> None:
        async with running_engine(device=device, npu_emulation=True) as engine:
            request = ask(QUESTION, placement=Placement(device=device, strict=True))
            events = await events_of(engine, structs.replace(row.spec(), exact=device == "CPU"), request)
            assert start_of(events).route.executed.startswith(device)
            texts.append(text_of(events))

    run(scenario, 300)
    return texts[0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_demo_s_weights_answer_on_the_cpu_and_on_the_emulated_npu(
    tmp_path: Path, own_models: Path, precision: Precision
) -> None:
    builtin.sync_builtin_models()
    source = safetensors_models.write_repository(tmp_path / "demo-weights")
    row = importer.adopt(source, wishes=Wishes(precision=precision, consent=True))
    assert (row.kind, row.quantization) == ("chat", WORDS[precision])
    assert left_in(own_models) == [Path(row.path).name]
    said = {device: said_on(device, row) for device in ("CPU", "NPU")}
    if precision == "int8":
        assert said["CPU"] == said_on("CPU", Model.objects.get(name="demo:latest"))
    assert all("pullmodel" in text for text in said.values()), said


def test_an_embedding_model_gives_the_vectors_of_its_weights(tmp_path: Path) -> None:
    source = safetensors_models.write_embedding_repository(tmp_path / "minilm")
    row = importer.adopt(source, wishes=Wishes(consent=True))
    assert (row.kind, row.pooling, row.quantization) == ("embedding", "mean", "INT8")
    texts = TEXTS[:10]
    alike = (vectors(row.spec(), texts) * vectors(MINILM, texts)).sum(axis=1)
    assert np.min(alike) > 0.99, alike
