"""GGUF files of the built-in demo model: its real weights, written by the `gguf` package, in any of its types.

A file made here answers as `demo` does, so a test can tell a model that was taken over from one that only loads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import gguf_quants
import numpy as np
import openvino
from numpy.typing import NDArray

import inference.builtin

DEMO = Path(inference.builtin.__file__).parent / "demo"
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q4_K": 15,
    "Q6_K": 18,
    "Q5_0": 8,
    "BF16": 32,
}

Array = NDArray[np.float32]


@cache
def demo_weights() -> dict[str, Array]:
    """GGUF name -> float32, from the constants of demo's IR."""
    model = openvino.Core().read_model(DEMO / "openvino_model.xml")
    constants = {
        op.get_friendly_name(): op for op in model.get_ordered_ops() if op.get_type_name() == "Constant"
    }
    found: dict[str, Array] = {}
    for name, op in constants.items():
        if name.endswith(("_proj.weight", "embed_tokens.weight")):
            value = op.get_data().astype(np.float32)
            value -= constants[f"{name}/zero_point"].get_data().astype(np.float32)
            value *= constants[f"{name}/scale"].get_data().astype(np.float32)
            found[_gguf_name(name)] = value
        else:
            for target in op.output(0).get_target_inputs():
                user = target.get_node().get_friendly_name()
                if "norm" in user and "aten::mul/" in user and op.get_data().size > 1:
                    found[_gguf_name(user)] = op.get_data().astype(np.float32).reshape(-1)
    return found


def _gguf_name(name: str) -> str:
    if "embed_tokens" in name:
        return "token_embd.weight"
    if match := re.search(r"layers\.(\d+)\.([\w.]+?)(\.weight|/)", name):
        return f"blk.{match[1]}.{PARTS[match[2]]}.weight"
    return "output_norm.weight"


def write_demo(path: Path, quantization: str = "F16", **changes: Any) -> Path:
    """demo as one GGUF file. `changes`: metadata by key with `__` for `.`; None leaves the key out."""
    config = json.loads((DEMO / "config.json").read_text())
    arch = changes.pop("architecture", "qwen3")
    writer = gguf.GGUFWriter(path, arch)
    values: dict[str, tuple[Callable[[str, Any], None], Any]] = {
        "general.name": (writer.add_string, "Demo"),
        "general.file_type": (writer.add_uint32, _FILE_TYPES[quantization]),
        "general.license": (writer.add_string, "mit"),
        f"{arch}.block_count": (writer.add_uint32, config["num_hidden_layers"]),
        f"{arch}.context_length": (writer.add_uint32, config["max_position_embeddings"]),
        f"{arch}.embedding_length": (writer.add_uint32, config["hidden_size"]),
        f"{arch}.feed_forward_length": (writer.add_uint32, config["intermediate_size"]),
        f"{arch}.attention.head_count": (writer.add_uint32, config["num_attention_heads"]),
        f"{arch}.attention.head_count_kv": (writer.add_uint32, config["num_key_value_heads"]),
        f"{arch}.attention.key_length": (writer.add_uint32, config["head_dim"]),
        f"{arch}.attention.value_length": (writer.add_uint32, config["head_dim"]),
        f"{arch}.attention.layer_norm_rms_epsilon": (writer.add_float32, config["rms_norm_eps"]),
        f"{arch}.rope.freq_base": (writer.add_float32, config["rope_parameters"]["rope_theta"]),
        **tokenizer_values(writer),
    }
    for key, value in changes.items():
        name = key.replace("__", ".")
        add = values.get(name, (writer.add_string, None))[0]
        if isinstance(value, tuple):
            add, value = getattr(writer, f"add_{value[0]}"), value[1]
        values[name] = (add, value)
    for name, (add, value) in values.items():
        if value is not None:
            add(name, value)
    for name, array in demo_weights().items():
        add_tensor(writer, name, array, quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tokenizer_values(writer: gguf.GGUFWriter) -> dict[str, tuple[Callable[[str, Any], None], Any]]:
    """Key -> the writer's method and the value, of demo's tokenizer and template."""
    tokenizer = json.loads((DEMO / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    special = {entry["id"]: entry for entry in tokenizer["added_tokens"]}
    tokens = {id: token for token, id in ids.items()} | {id: e["content"] for id, e in special.items()}
    types = [
        3 if id in special and special[id]["special"] else 4 if id in special else 1 for id in sorted(tokens)
    ]
    return {
        "tokenizer.ggml.model": (writer.add_string, "gpt2"),
        "tokenizer.ggml.pre": (writer.add_string, "qwen2"),
        "tokenizer.ggml.tokens": (writer.add_array, [tokens[id] for id in sorted(tokens)]),
        "tokenizer.ggml.token_type": (writer.add_array, types),
        "tokenizer.ggml.merges": (writer.add_array, [" ".join(m) for m in tokenizer["model"]["merges"]]),
        "tokenizer.ggml.eos_token_id": (writer.add_uint32, 2),
        "tokenizer.ggml.padding_token_id": (writer.add_uint32, 0),
        "tokenizer.chat_template": (writer.add_string, (DEMO / "chat_template.jinja").read_text()),
    }


def add_tensor(writer: gguf.GGUFWriter, name: str, array: Array, quantization: str) -> None:
    kind = gguf.GGMLQuantizationType[quantization]
    if array.ndim == 1 or quantization == "F32":
        writer.add_tensor(name, array)
    elif quantization == "F16" or array.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        writer.add_tensor(name, array.astype(np.float16))
    elif quantization in ("Q4_K", "Q6_K"):
        writer.add_tensor(name, gguf_quants.quantize(array, quantization), raw_dtype=kind)
    else:
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
