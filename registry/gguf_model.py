"""Which GGUF models run here, and the files that Hugging Face would put beside them, made from their metadata.

What the runtime would ignore in silence, or take for something else, is refused here by name (docs/decisions/0006).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from registry.gguf import Gguf, Tensor
from registry.gguf_tokenizer import tokenizer_files
from registry.refusals import ImportRefused

ARCHITECTURES: Final = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
MATRICES: Final = ("F16", "Q4_0", "Q4_1", "Q4_K", "Q6_K", "Q8_0")
"""What the runtime multiplies with; it fails on F32 ("Unsupported quantization type") and on the other quants."""
_FLOAT_FILE_TYPES: Final = (0, 1)
_PER_BLOCK: Final = (
    "attn_norm",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)
_OPTIONAL: Final = ("attn_q_norm", "attn_k_norm")
_WHOLE: Final = (4, 5, 10, 11)
_FLOAT32: Final = 6
"""Types of metadata values of which the runtime reads the first four bytes rightly."""
MAX_BLOCKS: Final = 512
CONVERT = (
    "take the file in one of F16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K, "
    "or import the model's safetensors folder, which is converted"
)
_SAFETENSORS = "import the model's safetensors folder instead, which is converted"


def check(gguf: Gguf) -> None:
    """Raises ImportRefused unless the runtime makes of this file what its author meant."""
    architecture = gguf.metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise _refused(
            gguf,
            f"has the architecture {str(architecture)[:40]!r}; {', '.join(ARCHITECTURES)} run here",
            _SAFETENSORS,
        )
    if "split.count" in gguf.metadata:
        raise _refused(gguf, "is one part of several", "merge them with llama-gguf-split --merge")
    blocks = _positive(gguf, "block_count")
    if blocks > MAX_BLOCKS:
        raise _refused(gguf, f"claims {blocks} layers", "check where it came from")
    for key in ("embedding_length", "attention.head_count", "context_length"):
        _positive(gguf, key)
    _float(gguf, "attention.layer_norm_rms_epsilon", None)
    _float(gguf, "rope.freq_base", 10000.0)
    _check_tensors(gguf, blocks)
    _check_positions(gguf)


def _check_tensors(gguf: Gguf, blocks: int) -> None:
    needed = {"token_embd.weight", "output_norm.weight"}
    needed |= {f"blk.{block}.{part}.weight" for block in range(blocks) for part in _PER_BLOCK}
    if gguf.metadata["general.architecture"] == "qwen3":
        needed |= {f"blk.{block}.{part}.weight" for block in range(blocks) for part in _OPTIONAL}
    if missing := sorted(needed - gguf.tensors.keys()):
        raise _refused(gguf, f"lacks {len(missing)} tensors, the first is {missing[0]}", _SAFETENSORS)
    known = (
        needed
        | {"output.weight", "rope_freqs.weight"}
        | {name for name in gguf.tensors if name.endswith(".bias")}
    )
    if unknown := sorted(gguf.tensors.keys() - known):
        raise _refused(gguf, f"has tensors that would be left out, the first is {unknown[0]}", _SAFETENSORS)
    for tensor in gguf.tensors.values():
        _check_kind(gguf, tensor)
    if gguf.tensors["token_embd.weight"].shape[0] != gguf.metadata[_key(gguf, "embedding_length")]:
        raise _refused(gguf, "has token_embd.weight of another width than its embedding_length", _SAFETENSORS)


def _check_kind(gguf: Gguf, tensor: Tensor) -> None:
    allowed = MATRICES if len(tensor.shape) > 1 else ("F32",)
    if tensor.kind not in allowed:
        raise _refused(gguf, f"has {tensor.name} in {tensor.kind}, which does not run here", CONVERT)
    file_type = gguf.metadata.get("general.file_type")
    if not isinstance(file_type, int):
        raise _refused(gguf, "lacks general.file_type", CONVERT)
    if tensor.kind.startswith("Q") and file_type in _FLOAT_FILE_TYPES:
        raise _refused(
            gguf, f"says it is not quantised (general.file_type {file_type}), {tensor.name} is", CONVERT
        )


def _check_positions(gguf: Gguf) -> None:
    """The runtime knows plain RoPE alone; it would ignore these without a word."""
    scaling = gguf.metadata.get(_key(gguf, "rope.scaling.type"), "none")
    if scaling != "none":
        raise _refused(
            gguf, f"scales its positions ({str(scaling)[:40]}), which does not run from GGUF", _SAFETENSORS
        )
    if "rope_freqs.weight" in gguf.tensors:
        raise _refused(
            gguf, "scales its positions (rope_freqs.weight, as Llama 3.1 does), which does not run from GGUF",
            _SAFETENSORS,
        )  # fmt: skip
    turned, width = gguf.metadata.get(_key(gguf, "rope.dimension_count")), _head_length(gguf)
    if turned not in (None, width):
        raise _refused(
            gguf, f"turns {turned} of the {width} numbers of a head, all are turned here", _SAFETENSORS
        )


def write_files(gguf: Gguf, folder: Path) -> None:
    """config.json, generation_config.json, tokenizer files, chat template, the licence's name if there is one."""
    files: dict[str, Any] = {"config.json": _config(gguf), **tokenizer_files(gguf)}
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)
        (folder / name).write_text(text, encoding="utf-8")
    licence = gguf.metadata.get("general.license")
    if isinstance(licence, str) and licence.strip():
        head = f"---\nlicense: {licence.split()[0]}\n---\n"
        (folder / "README.md").write_text(head, encoding="utf-8")


def _config(gguf: Gguf) -> dict[str, Any]:
    architecture = str(gguf.metadata["general.architecture"])
    heads = _positive(gguf, "attention.head_count")
    vocabulary = gguf.tensors["token_embd.weight"].shape[-1]
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[architecture]],
        "model_type": architecture,
        "hidden_size": _positive(gguf, "embedding_length"),
        "num_hidden_layers": _positive(gguf, "block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _optional(gguf, "attention.head_count_kv", heads),
        "head_dim": _head_length(gguf),
        "intermediate_size": _optional(gguf, "feed_forward_length", 0),
        "max_position_embeddings": _positive(gguf, "context_length"),
        "rms_norm_eps": _float(gguf, "attention.layer_norm_rms_epsilon", None),
        "rope_theta": _float(gguf, "rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "vocab_size": vocabulary,
    }
    for name in ("bos", "eos"):
        if isinstance(id := gguf.metadata.get(f"tokenizer.ggml.{name}_token_id"), int):
            config[f"{name}_token_id"] = id
    return config


def _key(gguf: Gguf, key: str) -> str:
    return f"{gguf.metadata['general.architecture']}.{key}"


def _head_length(gguf: Gguf) -> int:
    width, heads = _positive(gguf, "embedding_length"), _positive(gguf, "attention.head_count")
    return _optional(gguf, "attention.key_length", width // heads)


def _positive(gguf: Gguf, key: str) -> int:
    """A number that the model cannot be without. The runtime reads four bytes of it, whatever its type."""
    key = _key(gguf, key)
    value = gguf.metadata.get(key)
    if not isinstance(value, int) or gguf.types[key] not in _WHOLE or not 0 < value < 2**31:
        raise _refused(gguf, f"has no usable {key} ({str(value)[:40]})", _SAFETENSORS)
    return value


def _optional(gguf: Gguf, key: str, default: int) -> int:
    return _positive(gguf, key) if _key(gguf, key) in gguf.metadata else default


def _float(gguf: Gguf, key: str, default: float | None) -> float:
    key = _key(gguf, key)
    value = gguf.metadata.get(key, default)
    if not isinstance(value, float) or gguf.types.get(key, _FLOAT32) != _FLOAT32 or not 0 < value < 1e12:
        raise _refused(gguf, f"has no usable {key} ({str(value)[:40]})", _SAFETENSORS)
    return value


def _refused(gguf: Gguf, fault: str, way_out: str) -> ImportRefused:
    return ImportRefused(gguf.file, fault, way_out)
