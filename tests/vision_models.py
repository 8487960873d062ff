"""A tiny model that looks at images, made in a second without torch: the built-in `demo`, with eyes.

A LLaVA as OpenVINO GenAI reads one: the language model of `demo`, cut in two behind its embedding of tokens, and a
vision model that turns each patch of an image into the embedding of a word of `demo`'s, by its colour. So it answers in
`demo`'s English, of what the image stands for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import engines
import numpy as np
import openvino
import openvino.opset15 as ops

from inference.builtin.generate_bench_model import tokenizer_models

SIDE = 32
"""Pixels of the square that the model sees."""
PATCH = 8
IMAGE_TOKENS = (SIDE // PATCH) ** 2
"""Of one image, whatever its size; the line end behind them is text."""
TAG = "<image>"
"""LLaVA's own: GenAI puts one for each patch."""
_TAKEN = "<tool_response>"
"""A token of `demo` that the tag takes the place of: its embedding has no row to spare."""
_COLOURS = {"red": " tools", "green": " power", "blue": " keys", "white": " vision", "black": " cache"}


def make(folder: Path) -> Path:
    """Writes the model into `folder`, which it makes, with SHA256SUMS."""
    folder.mkdir(parents=True)
    demo = engines.BUILTIN / "demo"
    for name in ("generation_config.json", "chat_template.jinja"):
        shutil.copyfile(demo / name, folder / name)
    tokens = (demo / "tokenizer_config.json").read_text("utf-8").replace(_TAKEN, TAG)
    (folder / "tokenizer_config.json").write_text(tokens, "utf-8", newline="\n")
    content = json.loads((demo / "tokenizer.json").read_text("utf-8").replace(_TAKEN, TAG))
    content["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8", newline="\n")
    split = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    forward, back = tokenizer_models(content, split)
    openvino.save_model(forward, folder / "openvino_tokenizer.xml")
    openvino.save_model(back, folder / "openvino_detokenizer.xml")
    vocabulary = content["model"]["vocab"]
    words = [vocabulary[word.replace(" ", "\u0120")] for word in _COLOURS.values()]
    _language(demo, folder, words)
    config = json.loads((demo / "config.json").read_text("utf-8"))
    _write_configs(folder, config)
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / "SHA256SUMS").write_text(sums, "utf-8", newline="\n")
    return folder


def _language(demo: Path, folder: Path, words: list[int]) -> None:
    """The three models: tokens to embeddings, embeddings to logits, pixels to embeddings."""
    model = openvino.Core().read_model(demo / "openvino_model.xml")
    gather = _embedding_of(model)
    ids = ops.parameter([-1, -1], openvino.Type.i64)
    ids.set_friendly_name("input")
    ids.output(0).get_tensor().set_names({"input"})
    table = gather.input_value(0)
    found = ops.gather(table, ops.convert(ids, "i32"), ops.constant(np.int32(0)))
    found.output(0).get_tensor().set_names({"inputs_embeds"})
    tokens = openvino.Model([ops.result(found)], [ids], "text_embeddings")
    openvino.save_model(tokens, folder / "openvino_text_embeddings_model.xml", compress_to_fp16=False)
    rows = _infer(tokens, np.array([words], dtype=np.int64))[0]
    _save_vision(folder, rows)
    embeds = ops.parameter([-1, -1, rows.shape[-1]], openvino.Type.f32)
    embeds.set_friendly_name("inputs_embeds")
    embeds.output(0).get_tensor().set_names({"inputs_embeds"})
    gather.output(0).replace(embeds.output(0))
    old = model.input("input_ids").get_node()
    shape = ops.gather(ops.shape_of(embeds), ops.constant(np.array([0, 1])), ops.constant(0))
    for target in list(old.output(0).get_target_inputs()):
        target.replace_source_output(ops.broadcast(ops.constant(np.int64(0)), shape).output(0))
    model.add_parameters([embeds])
    model.remove_parameter(old)
    openvino.save_model(model, folder / "openvino_language_model.xml", compress_to_fp16=False)


def _embedding_of(model: Any) -> Any:
    """The Gather that looks the tokens up."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Gather" and "embed_tokens" in node.get_friendly_name():
            return node
    raise AssertionError("no embedding of tokens")


def _infer(model: Any, value: Any) -> Any:
    compiled = openvino.Core().compile_model(model, "CPU")
    return compiled(value)[0].copy()


def _save_vision(folder: Path, rows: Any) -> None:
    """Each patch: its mean colour, sharply weighed against five, mixes the embeddings `rows` of five words."""
    pixels = ops.parameter([-1, 3, -1, -1], openvino.Type.f32)
    pixels.output(0).get_tensor().set_names({"pixel_values"})
    pixels.set_friendly_name("pixel_values")
    means = ops.avg_pool(pixels, [PATCH, PATCH], [0, 0], [0, 0], [PATCH, PATCH], True)
    patches = ops.transpose(ops.reshape(means, np.array([0, 3, -1]), True), np.array([0, 2, 1]))
    colours = np.array(
        [[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1], [-1, -1, -1]], dtype=np.float32
    )  # after LLaVA's scaling: mean 0.5 and deviation 0.5
    near = ops.softmax(ops.multiply(ops.matmul(patches, colours.T, False, False), np.float32(4)), 2)
    out = ops.matmul(near, ops.constant(rows.astype(np.float32)), False, False)
    out.output(0).get_tensor().set_names({"last_hidden_state"})
    vision = openvino.Model([ops.result(out)], [pixels], "vision")
    openvino.save_model(vision, folder / "openvino_vision_embeddings_model.xml", compress_to_fp16=False)


def _write_configs(folder: Path, text: dict[str, Any]) -> None:
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": text,
        "vision_config": {"patch_size": PATCH, "image_size": SIDE},
        "hidden_size": text["hidden_size"],
        "eos_token_id": text["eos_token_id"],
    }
    square = {"height": SIDE, "width": SIDE}
    half = [0.5, 0.5, 0.5]
    seen = {"crop_size": square, "size": {"shortest_edge": SIDE}, "image_mean": half, "image_std": half}
    for name, value in (("config.json", config), ("preprocessor_config.json", seen)):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", "utf-8", newline="\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
