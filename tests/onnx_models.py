"""The built-in all-minilm as a repository of ONNX: its weights in a graph as exporters write it, no IR."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
from engines import BUILTIN
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MINILM = BUILTIN / "all-minilm"
KEPT = ("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json")
LAYERS, HEADS, WIDTH = 6, 12, 384
Array = NDArray[np.float32]


def write_repository(folder: Path) -> Path:
    """folder/onnx/model.onnx, with a pooled output before the one of the tokens, and the files beside it."""
    (folder / "onnx").mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    for name in (*KEPT, "1_Pooling/config.json"):
        shutil.copy(MINILM / name, folder / name)
    onnx.save(_Graph(weights()).model(), folder / "onnx" / "model.onnx")
    return folder


def weights() -> dict[str, Array]:
    """Of the IR: `encoder.layer.0.attention.self.query.weight`, and biases and norms by what uses them."""
    model = openvino.Core().read_model(MINILM / "openvino_model.xml")
    constants = {
        op.get_friendly_name(): op for op in model.get_ordered_ops() if op.get_type_name() == "Constant"
    }
    found: dict[str, Array] = {}
    for name, op in constants.items():
        if name.endswith(".weight"):
            value = op.get_data().astype(np.float32)
            if f"{name}/zero_point" in constants:
                value = value - constants[f"{name}/zero_point"].get_data().astype(np.float32)
            if f"{name}/scale" in constants:
                value = value * constants[f"{name}/scale"].get_data().astype(np.float32)
            found[name.removeprefix("self.")] = value
            continue
        for target in op.output(0).get_target_inputs():
            user = target.get_node().get_friendly_name()
            if (
                user.startswith("__module.")
                and user.endswith(("Multiply_1", "/Add"))
                and op.get_data().size > 2
            ):
                module = user.removeprefix("__module.").split("/")[0]
                part = "scale" if user.endswith("Multiply_1") else "bias"
                found[f"{module}.{part}"] = op.get_data().astype(np.float32).reshape(-1)
    return found


class _Graph:
    """Nodes one after another; each method returns the name of what it made."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def model(self) -> Any:
        x = self._embedded()
        mask = self._mask()
        for layer in range(LAYERS):
            x = self._layer(x, mask, f"encoder.layer.{layer}")
        first = self._op("Gather", x, self._constant(np.int64(0)), axis=1)
        self._nodes.append(helper.make_node("Identity", [first], ["pooler_output"]))
        self._nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
        names = ("input_ids", "attention_mask", "token_type_ids")
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names
        ]
        outputs = [
            helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, ["batch", WIDTH]),
            helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", WIDTH]),
        ]
        graph = helper.make_graph(self._nodes, "bert", inputs, outputs, list(self._constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    def _embedded(self) -> str:
        tokens = self._op("Shape", "input_ids", start=1)
        count = self._op("Squeeze", tokens)
        positions = self._op("Range", self._constant(np.int64(0)), count, self._constant(np.int64(1)))
        looked_up = [
            self._op("Gather", self._constant(self._weights[f"embeddings.{name}_embeddings.weight"]), ids)
            for name, ids in (
                ("word", "input_ids"),
                ("token_type", "token_type_ids"),
                ("position", positions),
            )
        ]
        both = self._op("Add", looked_up[0], looked_up[1])
        return self._norm(self._op("Add", both, looked_up[2]), "embeddings.LayerNorm")

    def _mask(self) -> str:
        plain = self._op("Cast", "attention_mask", to=TensorProto.FLOAT)
        wide = self._op("Unsqueeze", plain, self._constant(np.array([1, 2], np.int64)))
        hidden = self._op("Sub", self._constant(np.float32(1)), wide)
        return self._op("Mul", hidden, self._constant(np.float32(-1e9)))

    def _layer(self, x: str, mask: str, name: str) -> str:
        q, k, v = (
            self._heads(self._linear(x, f"{name}.attention.self.{part}"))
            for part in ("query", "key", "value")
        )
        scores = self._op("MatMul", q, self._op("Transpose", k, perm=[0, 1, 3, 2]))
        scaled = self._op("Mul", scores, self._constant(np.float32((WIDTH // HEADS) ** -0.5)))
        shares = self._op("Softmax", self._op("Add", scaled, mask), axis=-1)
        joined = self._op("Transpose", self._op("MatMul", shares, v), perm=[0, 2, 1, 3])
        flat = self._op("Reshape", joined, self._constant(np.array([0, 0, WIDTH], np.int64)))
        attended = self._op("Add", x, self._linear(flat, f"{name}.attention.output.dense"))
        x = self._norm(attended, f"{name}.attention.output.LayerNorm")
        inner = self._gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(
            self._op("Add", x, self._linear(inner, f"{name}.output.dense")), f"{name}.output.LayerNorm"
        )

    def _heads(self, x: str) -> str:
        shape = self._constant(np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
        return self._op("Transpose", self._op("Reshape", x, shape), perm=[0, 2, 1, 3])

    def _linear(self, x: str, name: str) -> str:
        made = self._op("MatMul", x, self._constant(np.ascontiguousarray(self._weights[f"{name}.weight"].T)))
        return self._op("Add", made, self._constant(self._weights[f"{name}.bias"]))

    def _gelu(self, x: str) -> str:
        erf = self._op("Erf", self._op("Mul", x, self._constant(np.float32(0.5**0.5))))
        half = self._op("Mul", x, self._constant(np.float32(0.5)))
        return self._op("Mul", half, self._op("Add", erf, self._constant(np.float32(1))))

    def _norm(self, x: str, name: str) -> str:
        scale, bias = (self._constant(self._weights[f"{name}.{part}"]) for part in ("scale", "bias"))
        return self._op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _constant(self, value: Any) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name
