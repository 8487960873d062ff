"""Makes the benchmark's model: Qwen3, 105 M random int8 weights, the same bytes for the same seed.

    python -m inference.builtin.generate_bench_model --out DIR

Its text means nothing; its speed, memory and files are those of a model of that size exported by optimum.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino.opset15 as ops
from numpy.typing import NDArray
from openvino_tokenizers import tokenizer_pipeline as steps
from openvino_tokenizers.constants import UTF8ReplaceMode
from openvino_tokenizers.utils import change_inputs_type, change_outputs_type
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

I64 = openvino.Type.i64
VERSION = 1  # raised with every change that makes other files, so that an older folder is made anew
SEED = 20260401
FOLDER = "bench-model"
MARKER = "generator.json"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
SPACE = "Ġ"  # the letter that stands for the byte of a space in every byte-level tokenizer
LETTERS = "etaoinshrdlcumwfgypbvkjxqz"  # by frequency in English: what a text needs first is merged first
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}\n"
)


@dataclass(frozen=True)
class Shape:
    """The sizes of a Qwen3 model, under the names of its config.json."""

    vocab_size: int = 16384
    hidden_size: int = 1024
    num_hidden_layers: int = 7
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 64
    intermediate_size: int = 3072
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6


class Weights:
    """Random weights, int8 with one float16 scale a row. The order of the calls decides the values."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def _raw(self, count: int) -> NDArray[np.int8]:
        # The raw words of a bit generator stay the same in every NumPy release; the distributions need not.
        self._count += 1
        generator = np.random.PCG64(np.random.SeedSequence([self._seed, self._count]))
        words = np.asarray(generator.random_raw(-(-count // 8)), dtype="<u8")
        return words.view(np.int8)[:count]

    def matrix(self, rows: int, columns: int, deviation: float, silent: Sequence[int] = ()) -> Any:
        """The decompression that the plugins recognise: i8 -> f16, times scale, -> f32. Rows `silent` are 0."""
        values = self._raw(rows * columns).reshape(rows, columns).copy()
        values[list(silent)] = 0
        scale = np.full((rows, 1), deviation / 73.9, dtype=np.float16)  # 73.9: deviation of uniform int8
        weight = ops.convert(ops.constant(values), "f16")
        return ops.convert(ops.multiply(weight, ops.constant(scale)), "f32")

    def gain(self, size: int) -> Any:
        """A norm's weights, near 1 but not 1: ones would be folded away and cost nothing."""
        return ops.constant((1 + self._raw(size) / np.float32(1280)).astype(np.float32))


class Graph:
    """The stateful decoder, written as optimum exports it: the plugins' fusions go by these patterns."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.weights = Weights(seed)
        self.sinks: list[Any] = []
        self.input_ids, self.attention_mask, self.position_ids = (
            _named(ops.parameter([-1, -1], I64), name)
            for name in ("input_ids", "attention_mask", "position_ids")
        )
        self.beam_idx = _named(ops.parameter([-1], openvino.Type.i32), "beam_idx")
        self.batch = ops.gather(ops.shape_of(self.input_ids), _ints(0), _int(0))
        self.mask = self._mask()
        self.cos, self.sin = self._rotation()

    def model(self, silent: Sequence[int]) -> Any:
        """Tokens in `silent` have logit 0, far below the likeliest."""
        shape = self.shape
        # Small beside what the layers add, else the tied head would answer each token with itself.
        embedding = self.weights.matrix(shape.vocab_size, shape.hidden_size, 0.06, silent)
        hidden = ops.gather(embedding, ops.convert(self.input_ids, "i32"), ops.constant(np.int32(0)))
        for layer in range(shape.num_hidden_layers):
            hidden = ops.add(hidden, self._attention(layer, self._norm(hidden, shape.hidden_size)))
            hidden = ops.add(hidden, self._mlp(self._norm(hidden, shape.hidden_size)))
        logits = ops.matmul(self._norm(hidden, shape.hidden_size), embedding, False, True)
        inputs = [self.input_ids, self.attention_mask, self.position_ids, self.beam_idx]
        return openvino.Model([ops.result(_named(logits, "logits"))], self.sinks, inputs, "bench")

    def _linear(self, value: Any, outputs: int, inputs: int) -> Any:
        return ops.matmul(value, self.weights.matrix(outputs, inputs, inputs**-0.5), False, True)

    def _norm(self, value: Any, size: int) -> Any:
        mean = ops.reduce_mean(ops.power(value, _float(2)), _ints(-1), keep_dims=True)
        root = ops.sqrt(ops.add(mean, _float(self.shape.rms_norm_eps)))
        return ops.multiply(self.weights.gain(size), ops.multiply(value, ops.divide(_float(1), root)))

    def _mlp(self, value: Any) -> Any:
        inner, outer = self.shape.intermediate_size, self.shape.hidden_size
        gate = ops.swish(self._linear(value, inner, outer))
        return self._linear(ops.multiply(gate, self._linear(value, inner, outer)), outer, inner)

    def _attention(self, layer: int, value: Any) -> Any:
        shape = self.shape
        heads, size = shape.num_attention_heads, shape.head_dim
        query = self._rotate(self._heads(value, heads, norm=True))
        key = self._rotate(self._heads(value, shape.num_key_value_heads, norm=True))
        key = self._repeat(self._remember(key, f"past_key_values.{layer}.keypresent.{layer}.key"))
        content = self._heads(value, shape.num_key_value_heads, norm=False)
        content = self._repeat(self._remember(content, f"past_key_values.{layer}.valuepresent.{layer}.value"))
        mixed = ops.scaled_dot_product_attention(query, key, content, self.mask, _float(size**-0.5))
        joined = ops.reshape(ops.transpose(mixed, _ints(0, 2, 1, 3)), _ints(0, 0, heads * size), True)
        return self._linear(joined, shape.hidden_size, heads * size)

    def _heads(self, value: Any, heads: int, *, norm: bool) -> Any:
        size = self.shape.head_dim
        flat = self._linear(value, heads * size, self.shape.hidden_size)
        split = ops.reshape(flat, _ints(0, 0, heads, size), True)
        return ops.transpose(self._norm(split, size) if norm else split, _ints(0, 2, 1, 3))

    def _remember(self, value: Any, name: str) -> Any:
        """Appends to the KV cache, which lives in a variable of the model."""
        heads, size = self.shape.num_key_value_heads, self.shape.head_dim
        empty = ops.concat([self.batch, _ints(heads), _ints(0), _ints(size)], 0)
        zeros = ops.broadcast(_float(0), empty)
        past = ops.read_value(zeros, name, openvino.Type.f32, openvino.PartialShape([-1, heads, -1, size]))
        whole = ops.concat([ops.gather(past, self.beam_idx, _int(0)), value], -2)
        self.sinks.append(ops.assign(whole, name))
        return whole

    def _repeat(self, value: Any) -> Any:
        """Each key and value head serves several query heads."""
        heads = self.shape.num_attention_heads
        each = _ints(1, 1, heads // self.shape.num_key_value_heads, 1, 1)
        wide = ops.broadcast(ops.unsqueeze(value, _int(2)), each, None, "BIDIRECTIONAL")
        return ops.reshape(wide, _ints(0, heads, -1, self.shape.head_dim), True)

    def _rotation(self) -> tuple[Any, Any]:
        size = self.shape.head_dim
        frequency = self.shape.rope_theta ** -(np.arange(0, size, 2, dtype=np.float64) / size)
        column = ops.constant(frequency.astype(np.float32).reshape(1, -1, 1))
        positions = ops.convert(ops.unsqueeze(self.position_ids, _int(1)), "f32")
        angle = ops.transpose(ops.matmul(column, positions, False, False), _ints(0, 2, 1))
        double = ops.concat([angle, angle], -1)
        return ops.unsqueeze(ops.cos(double), _int(1)), ops.unsqueeze(ops.sin(double), _int(1))

    def _rotate(self, value: Any) -> Any:
        half, axis, one = self.shape.head_dim // 2, _ints(3), _ints(1)
        first = ops.slice(value, _ints(0), _ints(half), one, axis)
        second = ops.slice(value, _ints(half), _ints(np.iinfo(np.int64).max), one, axis)
        turned = ops.concat([ops.multiply(second, _float(-1)), first], -1)
        return ops.add(ops.multiply(value, self.cos), ops.multiply(turned, self.sin))

    def _mask(self) -> Any:
        """0 where a query may look, -65504 elsewhere: causal, and never at padding."""
        length = ops.gather(ops.shape_of(self.attention_mask), _int(1), _int(0))
        queries = ops.gather(ops.shape_of(self.input_ids), _int(1), _int(0))
        keys = ops.range(_int(0), length, _int(1), "i64")
        rows = ops.range(ops.subtract(length, queries), length, _int(1), "i64")
        causal = ops.less_equal(ops.unsqueeze(keys, _ints(0, 1, 2)), ops.unsqueeze(rows, _ints(0, 1, 3)))
        visible = ops.unsqueeze(ops.convert(self.attention_mask, "boolean"), _ints(1, 2))
        return ops.select(ops.logical_and(causal, visible), _float(0), _float(-65504))


def _named(node: Any, name: str) -> Any:
    """The node, also named as an object: the transformation to paged attention goes by that."""
    node.set_friendly_name(name)
    node.output(0).get_tensor().set_names({name})
    return node


def _int(value: int) -> Any:
    return ops.constant(np.int64(value))


def _float(value: float) -> Any:
    return ops.constant(np.float32(value))


def _ints(*values: int) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))


def merges(count: int) -> list[tuple[str, str]]:
    """Pairs and triples of letters, alone and after a space, commonest first. Needs no corpus."""
    order = range(len(LETTERS))
    pairs = sorted(((i, j) for i in order for j in order), key=sum)
    triples = sorted(((i, j, k) for i, j in pairs for k in order), key=sum)
    found = [(LETTERS[i], LETTERS[j]) for i, j in pairs]
    found += [(SPACE, letter) for letter in LETTERS] + [(SPACE, "".join(pair)) for pair in found]
    half = (count - len(found)) // 2
    joined = [(LETTERS[i] + LETTERS[j], LETTERS[k]) for i, j, k in triples[: count - len(found) - half]]
    return [*found, *joined, *((SPACE, "".join(pair)) for pair in joined[:half])]


def tokenizer_json(vocab_size: int) -> dict[str, Any]:
    """A byte-level BPE tokenizer in the format of Hugging Face's tokenizers."""
    pairs = merges(vocab_size - 256 - len(SPECIAL) - len(MARKUP))
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs)]
    tokenizer = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in MARKUP])
    return dict(json.loads(tokenizer.to_str()))


def tokenizer_models(content: dict[str, Any], split: str = "") -> tuple[Any, Any]:
    """Tokenizer and detokenizer as OpenVINO models, without transformers. `split`: the regex of its words."""
    added = {token["id"]: token["content"] for token in content["added_tokens"]}
    skipped = [token["id"] for token in content["added_tokens"] if token["special"]]
    model = steps.BPETokenizationStep.from_hf_json(content)
    line = steps.TokenizerPipeline(vocab=model.vocab, skip_tokens=skipped)
    line.add_steps(
        [
            steps.SpecialTokensSplit.from_string_iter(added.values()),
            steps.RegexSplitStep(split, behaviour="isolate")
            if split
            else steps.RegexSplitStep.byte_level_splitter(),
            steps.BytesToCharsStep(),
            model,
            steps.CombineSegmentsStep([steps.Sequence()]),
            steps.PaddingStep(token=added[skipped[0]], _token_id=skipped[0], pad_right=False),
            steps.VocabDecoderStep.from_hf_json(content, model.vocab, added, skipped, is_byte_level=True),
            steps.CharsToBytesStep(),
            steps.UTF8ValidateStep(mode=UTF8ReplaceMode.REPLACE),
        ]
    )
    whole = line.get_tokenizer_ov_subgraph()  # it numbers segments too, which a decoder does not take
    outputs = [whole.output(name) for name in ("input_ids", "attention_mask")]
    forward = openvino.Model(outputs, [_named(whole.get_parameters()[0], "string_input")], whole.get_name())
    back = change_inputs_type(line.get_detokenizer_ov_subgraph(), I64)
    _named(back.get_parameters()[0], "input_ids")
    back.output(0).get_tensor().set_names({"string_output"})
    return change_outputs_type(forward, I64), back


def configs(shape: Shape, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON files of the folder, by name."""
    ids = {token["content"]: token["id"] for token in content["added_tokens"]}
    ends = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    rope = {"rope_theta": shape.rope_theta, "rope_type": "default"}
    kind = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu"}
    sizes = {key: value for key, value in asdict(shape).items() if key != "rope_theta"}
    yield "config.json", {**kind, **sizes, **ends, "rope_parameters": rope, "tie_word_embeddings": True}
    yield "generation_config.json", {"do_sample": False, **ends}
    yield "tokenizer.json", content
    tokens = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None, "unk_token": None}
    length = {"model_max_length": shape.max_position_embeddings, "clean_up_tokenization_spaces": False}
    yield "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **tokens, **length}


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_model(model: Any, path: Path) -> None:
    # Names are drawn from a counter of the process; without this the file would differ from run to run.
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() != "Parameter":
            node.set_friendly_name(f"{node.get_type_name()}_{index}")
    openvino.save_model(model, path, compress_to_fp16=False)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", newline="\n")  # the same bytes on every system


def generate(folder: Path, shape: Shape, seed: int) -> None:
    """Writes every file of the model into the existing `folder`."""
    content = tokenizer_json(shape.vocab_size)
    # All bytes but the 94 visible ASCII letters, and special tokens: so that texts and lengths stay tame.
    silent = [*range(94, 256), *(token["id"] for token in content["added_tokens"])]
    _write_model(Graph(shape, seed).model(silent), folder / "openvino_model.xml")
    forward, back = tokenizer_models(content)
    _write_model(forward, folder / "openvino_tokenizer.xml")
    _write_model(back, folder / "openvino_detokenizer.xml")
    for name, value in configs(shape, content):
        _write_text(folder / name, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
    _write_text(folder / "chat_template.jinja", CHAT_TEMPLATE)
    _write_text(folder / MARKER, json.dumps({"version": VERSION, "seed": seed}) + "\n")
    sums = "".join(f"{sha256_of(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    _write_text(folder / "SHA256SUMS", sums)


def is_whole(folder: Path, seed: int) -> bool:
    """Whether `folder` holds this version's model for `seed`, every byte as it was written."""
    try:
        marker = json.loads((folder / MARKER).read_text("utf-8"))
        sums = [line.split("  ", 1) for line in (folder / "SHA256SUMS").read_text("utf-8").splitlines()]
        intact = all(sha256_of(folder / name) == digest for digest, name in sums)
    except (OSError, ValueError):
        return False
    return intact and marker == {"version": VERSION, "seed": seed}


def ensure_bench_model(cache: Path, seed: int = SEED) -> Path:
    """The folder of the model below `cache`, made when it is missing, of another version or damaged."""
    folder = cache / FOLDER
    if is_whole(folder, seed):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}-", dir=cache) as work:
        made = Path(work) / "made"
        made.mkdir()
        generate(made, Shape(), seed)
        try:
            if folder.exists():
                folder.rename(Path(work) / "old")
            made.rename(folder)
        except OSError:  # another process may have been quicker
            if not is_whole(folder, seed):
                raise
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the benchmark's model and prints its folder.")
    parser.add_argument("--out", type=Path, required=True, help=f"it is made in {FOLDER} below this folder")
    print(ensure_bench_model(parser.parse_args().out))


if __name__ == "__main__":
    main()
