"""POST /api/embeddings gives the vector that the model's pooling gave; the other endpoints one of length one."""

from __future__ import annotations

from array import array
from typing import Any

import httpx
import numpy as np
import openvino
import pytest
from conftest import RunningServer
from engines import MINILM, run, running_engine
from tokenizers import Tokenizer
from wire_clients import native, v1

from inference.types import EmbedRequest, Placement
from inference.vectors import shortened
from inference.worker.messages import Vector

TEXTS = ("hello", "a cat sits on a mat", "interest rates rose by half a point, the bank said. " * 8, "\u200b")


@pytest.fixture(scope="module")
def pooled() -> dict[str, Any]:
    """By text, made without the product: the model in plain OpenVINO, and the mean over its tokens."""
    tokenizer = Tokenizer.from_file(str(MINILM.path / "tokenizer.json"))
    tokenizer.no_padding()
    model = openvino.Core().compile_model(MINILM.path / "openvino_model.xml", "CPU")
    names = {name for port in model.inputs for name in port.get_names()}
    vectors: dict[str, Any] = {}
    for text in TEXTS:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        vectors[text] = model({name: given[name] for name in names})[0][0].mean(axis=0)
    return vectors


def alike(vector: Any, reference: Any) -> tuple[float, float]:
    """The cosine, and the one's length by the other's."""
    one, other = np.linalg.norm(vector), np.linalg.norm(reference)
    return float(vector @ reference / one / other), float(one / other)


@pytest.mark.parametrize("text", TEXTS)
def test_the_older_endpoint_gives_the_pooled_vector(
    server: RunningServer, pooled: dict[str, Any], text: str
) -> None:
    first, known = (native(server.url).embeddings("all-minilm", text).embedding for _ in range(2))
    assert alike(np.array(first), pooled[text]) == pytest.approx((1, 1), abs=2e-3)
    assert known == first
    assert abs(np.linalg.norm(first) - 1) > 0.5, "so it is seen that nobody normalised"


def test_the_other_endpoints_give_it_with_length_one(server: RunningServer) -> None:
    text = "a vector of length one"
    older = np.array(native(server.url).embeddings("all-minilm", text).embedding)
    unit = older / np.linalg.norm(older)
    (made,) = native(server.url).embed("all-minilm", text).embeddings
    assert np.abs(np.array(made) - unit).max() < 1e-6
    (packed,) = v1(server.url).embeddings.create(model="all-minilm", input=text).data
    assert np.abs(np.array(packed.embedding) - unit).max() < 1e-6
    short = native(server.url).embed("all-minilm", text, dimensions=8).embeddings[0]
    assert np.abs(np.array(short) - unit[:8] / np.linalg.norm(unit[:8])).max() < 1e-6


def test_a_client_that_asks_for_dimensions_in_the_older_endpoint_gets_all(server: RunningServer) -> None:
    body = {"model": "all-minilm", "prompt": "hello", "dimensions": 8}
    answer = httpx.post(f"{server.url}/api/embeddings", json=body, timeout=60)
    assert len(answer.json()["embedding"]) == 384


def test_both_shapes_of_an_npu_give_the_pooled_vector(pooled: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with running_engine(npu_emulation=True, embedding_device="NPU") as engine:
            request = EmbedRequest(model="m", texts=TEXTS, placement=Placement(device="NPU"))
            made = await engine.embed(MINILM, request)
            assert made.start.route.routed == "NPU"
        for text, unit, norm in zip(TEXTS, made.vectors, made.norms, strict=True):
            vector = np.frombuffer(unit, "<f4")
            assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-6)
            assert alike(vector * norm, pooled[text]) == pytest.approx((1, 1), abs=5e-3)

    run(scenario, 120)


def test_a_shortened_vector_knows_the_length_of_what_is_left_of_it() -> None:
    whole = Vector(array("f", [0.6, 0.0, 0.8]).tobytes(), 10.0)
    (short,) = shortened([whole], 2)
    assert array("f", short.unit).tolist() == [1.0, 0.0]
    assert short.norm == pytest.approx(6.0, abs=1e-6)
    (nothing,) = shortened([Vector(array("f", [0.0, 1.0]).tobytes(), 10.0)], 1)
    assert (array("f", nothing.unit).tolist(), nothing.norm) == ([0.0], 0.0)
    assert shortened([whole], 3) == shortened([whole], 0) == (whole,)
