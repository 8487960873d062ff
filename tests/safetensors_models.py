"""The built-in demo model as a repository of safetensors: its real weights under Hugging Face's names, no IR."""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

import onnx_models
from gguf_models import DEMO, PARTS, Array, demo_weights

KEPT = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


def write_repository(folder: Path) -> Path:
    """config, tokenizer and chat template as they ship, model.safetensors in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copy(DEMO / name, folder / name)
    _write(folder, {hub_name(name): array for name, array in demo_weights().items()})
    return folder


def write_embedding_repository(folder: Path) -> Path:
    """all-minilm in the same way, with what says how it pools."""
    (folder / "1_Pooling").mkdir(parents=True)
    for name in (*onnx_models.KEPT, "1_Pooling/config.json"):
        shutil.copy(onnx_models.MINILM / name, folder / name)
    arrays = {
        name.replace(".scale", ".weight"): array
        for name, array in onnx_models.weights().items()
        if name.endswith((".weight", ".scale", ".bias"))
    }
    _write(folder, arrays)
    return folder


def _write(folder: Path, arrays: Mapping[str, Array]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data, offset = [], 0
    for name, array in arrays.items():
        raw = array.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        data.append(raw)
        offset += len(raw)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(b"".join([struct.pack("<Q", len(text)), text, *data]))


def hub_name(name: str) -> str:
    """GGUF's name of a tensor -> Hugging Face's."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    assert match is not None, name
    parts = {short: long for long, short in PARTS.items()}
    return f"model.layers.{match[1]}.{parts[match[2]]}.weight"
