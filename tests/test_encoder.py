"""The worker's vectors are those of GenAI's pipeline, whatever the pooling, the batch and the graph's inputs."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino
import openvino_genai as genai
import pytest
from engines import MINILM
from tokenizers import Tokenizer

from inference.worker.bare_embedding import configuration
from inference.worker.encoder import Encoder, properties
from inference.worker.messages import Load, pack_ids

Pooling = Literal["mean", "cls", "last_token"]
POOLINGS: tuple[Pooling, ...] = ("mean", "cls", "last_token")


def load_of(pooling: Pooling = "mean", path: Path = MINILM.path, device: str = "CPU") -> Load:
    return Load(
        role="embedding",
        path=str(path),
        device=device,
        emulated=device == "NPU",
        pooling=pooling,
        max_length=256,
    )


def texts() -> list[str]:
    draw = random.Random(7)
    words = ("the", "cat", "sat", "on", "a", "mat", "while", "interest", "rates,", "1234", "rose", "Zürich")
    lengths = (1, 2, 3, 5, 8, 12, 13, 40, 90, 400)
    return ["", "\u200b", *(" ".join(draw.choices(words, k=length)) for length in lengths)]


@pytest.fixture(scope="module")
def ids() -> list[bytes]:
    """As the server makes them: cut at the model's length, the last token of the tokenizer's own kept."""
    tokenizer = Tokenizer.from_file(str(MINILM.path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return [pack_ids(tokenizer.encode(text).ids) for text in texts()]


def pipeline(load: Load) -> Any:
    return genai.TextEmbeddingPipeline(load.path, load.device, configuration(load), **properties(load))


def cosines(ours: Any, theirs: Any) -> Any:
    theirs = np.asarray(theirs)
    return (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_vectors_are_the_pipeline_s_alone_and_in_a_batch(pooling: Pooling, ids: list[bytes]) -> None:
    load = load_of(pooling)
    reference = pipeline(load)
    theirs = [reference.embed_documents([text])[0] for text in texts()]
    encoder = Encoder(load)
    together = encoder.pooled(ids)
    assert together.dtype == np.float32
    assert together.shape == (len(ids), 384)
    assert cosines(together, theirs).min() > 0.9999
    alone = np.concatenate([encoder.pooled([each]) for each in ids])
    assert cosines(alone, theirs).min() > 0.9999
    assert encoder.executed == "CPU"


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_fixed_shape_of_an_npu_gives_the_same(pooling: Pooling, ids: list[bytes]) -> None:
    short = [each for each in ids if len(each) <= 64 * 4]
    fixed = Encoder(load_of(pooling, device="NPU"), 64)
    theirs = Encoder(load_of(pooling)).pooled(short)
    assert cosines(np.concatenate([fixed.pooled([each]) for each in short]), theirs).min() > 0.999
    with pytest.raises(RuntimeError, match="a text of 256 tokens; the compiled shape has 64"):
        fixed.pooled([ids[-1]])


def test_a_text_without_tokens_has_a_vector_of_zeros_and_leaves_the_others_alone(ids: list[bytes]) -> None:
    encoder = Encoder(load_of())
    none, text = encoder.pooled([b"", ids[3]])
    assert not none.any()
    assert cosines(text[None], encoder.pooled([ids[3]])).min() > 0.9999
    assert not encoder.pooled([b"", b""]).any()


def edited(folder: Path, edit: Any) -> Path:
    """The built-in model with another graph."""
    shutil.copytree(MINILM.path, folder)
    model = openvino.Core().read_model(MINILM.path / "openvino_model.xml")
    edit(model)
    for name in ("xml", "bin"):
        (folder / f"openvino_model.{name}").unlink()
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return folder


def test_an_output_of_another_name_is_found_by_its_shape(tmp_path: Path, ids: list[bytes]) -> None:
    path = edited(tmp_path / "model", lambda model: model.outputs[0].set_names({"token_embeddings"}))
    made = Encoder(load_of(path=path)).pooled(ids)
    assert cosines(made, Encoder(load_of()).pooled(ids)).min() > 0.9999


def test_a_graph_of_another_kind_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    def renamed(model: Any) -> None:
        model.input("token_type_ids").set_names({"pixel_values"})

    def flat(model: Any) -> None:
        (result,) = model.get_results()
        mean = openvino.opset13.reduce_mean(result.input_value(0), np.array([1]))
        model.remove_result(result)
        model.add_results([openvino.opset13.result(mean)])

    with pytest.raises(ValueError, match="it has the input 'pixel_values'"):
        Encoder(load_of(path=edited(tmp_path / "renamed", renamed)))
    with pytest.raises(ValueError, match="no output of hidden states"):
        Encoder(load_of(path=edited(tmp_path / "flat", flat)))
