"""Small GGUF models with random weights in the layouts of llama, qwen2 and qwen3, and what they say, by numpy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from gguf_models import DEMO, Array, add_tensor, tokenizer_values
from tokenizers import Tokenizer

LAYERS, WIDTH, HEADS, KV_HEADS, HEAD, INNER = 2, 64, 4, 2, 16, 96
EPSILON, THETA = 1e-5, 10000.0
ARCHITECTURES: Final = ("llama", "qwen2", "qwen3")
TEMPLATE: Final = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def weights(architecture: str, seed: int = 7) -> dict[str, Array]:
    """GGUF name -> float32 that float16 holds exactly, rows as Hugging Face orders them."""
    random = np.random.default_rng(seed)
    rows = Tokenizer.from_file(str(DEMO / "tokenizer.json")).get_vocab_size()

    def matrix(*shape: int, scale: float = 0.3) -> Array:
        values = random.normal(0, scale, shape)
        return values.astype(np.float16).astype(np.float32)

    found = {"token_embd.weight": matrix(rows, WIDTH, scale=1.0), "output_norm.weight": 1 + matrix(WIDTH)}
    found["output.weight"] = matrix(rows, WIDTH)
    for layer in range(LAYERS):
        shapes = {
            "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,),
            "attn_q": (HEADS * HEAD, WIDTH), "attn_k": (KV_HEADS * HEAD, WIDTH),
            "attn_v": (KV_HEADS * HEAD, WIDTH), "attn_output": (WIDTH, HEADS * HEAD),
            "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER),
        }  # fmt: skip
        if architecture == "qwen3":
            shapes |= {"attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,)}
        for name, shape in shapes.items():
            found[f"blk.{layer}.{name}.weight"] = matrix(*shape) + (1.0 if len(shape) == 1 else 0.0)
        if architecture == "qwen2":
            for name, width in (
                ("attn_q", HEADS * HEAD),
                ("attn_k", KV_HEADS * HEAD),
                ("attn_v", KV_HEADS * HEAD),
            ):
                found[f"blk.{layer}.{name}.bias"] = matrix(width)
    return found


def write(path: Path, architecture: str, **changes: Any) -> Path:
    """In F16. `changes`: text of a metadata key, `__` for `.`."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_uint32("general.file_type", 1)
    for key, number in {
        "block_count": LAYERS, "context_length": 256, "embedding_length": WIDTH, "feed_forward_length": INNER,
        "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS, "attention.key_length": HEAD,
        "attention.value_length": HEAD,
    }.items():  # fmt: skip
        writer.add_uint32(f"{architecture}.{key}", number)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", EPSILON)
    writer.add_float32(f"{architecture}.rope.freq_base", THETA)
    for name, (add, value) in tokenizer_values(writer).items():
        add(name, TEMPLATE if name == "tokenizer.chat_template" else value)
    for key, text in changes.items():
        writer.add_string(key.replace("__", "."), text)
    for name, array in weights(architecture).items():
        add_tensor(writer, name, _as_stored(name, array) if architecture == "llama" else array, "F16")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _as_stored(name: str, array: Array) -> Array:
    """llama's files have the rows of q and k in pairs of neighbours, not of halves."""
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.split(".")[-2])
    if heads is None:
        return array
    return array.reshape(heads, 2, HEAD // 2, WIDTH).swapaxes(1, 2).reshape(array.shape)


def greedy(architecture: str, ids: list[int], count: int) -> list[int]:
    """The next `count` tokens, each the likeliest; the whole sequence anew for each."""
    found = weights(architecture)
    made: list[int] = []
    for _ in range(count):
        made.append(int(np.argmax(_logits(found, [*ids, *made]))))
    return made


def _logits(found: dict[str, Array], ids: list[int]) -> Array:
    x = found["token_embd.weight"][ids]
    for layer in range(LAYERS):
        part = {
            name.split(".", 2)[2]: value for name, value in found.items() if name.startswith(f"blk.{layer}.")
        }
        x = x + _attention(part, _normed(x, part["attn_norm.weight"]))
        y = _normed(x, part["ffn_norm.weight"])
        gate = y @ part["ffn_gate.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ part["ffn_up.weight"].T)) @ part["ffn_down.weight"].T
    logits: Array = _normed(x[-1:], found["output_norm.weight"])[0] @ found["output.weight"].T
    return logits


def _attention(part: dict[str, Array], x: Array) -> Array:
    def heads(name: str, count: int) -> Array:
        made = x @ part[f"{name}.weight"].T + part.get(f"{name}.bias", np.float32(0))
        made = made.reshape(len(x), count, HEAD)
        norm = part.get(f"{name}_norm.weight")
        return (made if norm is None else _normed(made, norm)).swapaxes(0, 1)

    q, k, v = _turned(heads("attn_q", HEADS)), _turned(heads("attn_k", KV_HEADS)), heads("attn_v", KV_HEADS)
    k, v = (np.repeat(one, HEADS // KV_HEADS, axis=0) for one in (k, v))
    scores = q @ k.swapaxes(1, 2) / np.sqrt(HEAD) + np.triu(np.full((len(x), len(x)), -1e9), 1)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    out: Array = (shares @ v).swapaxes(0, 1).reshape(len(x), HEADS * HEAD) @ part["attn_output.weight"].T
    return out


def _turned(x: Array) -> Array:
    """Rotary positions, the halves of a head against each other."""
    angles = np.arange(x.shape[1])[:, None] * THETA ** (-np.arange(0, HEAD, 2) / HEAD)
    cos, sin = np.tile(np.cos(angles), 2), np.tile(np.sin(angles), 2)
    half = HEAD // 2
    turned: Array = x * cos + np.concatenate([-x[..., half:], x[..., :half]], axis=-1) * sin
    return turned


def _normed(x: Array, weight: Array) -> Array:
    normed: Array = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON) * weight
    return normed
