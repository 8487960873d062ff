"""`python -P -m inference.worker.onnx_to_ir MODEL.onnx FOLDER PARENT_PID`: an ONNX encoder becomes IR in FOLDER.

FOLDER has tokenizer.json already. Ends with 0 only if the saved IR gives a vector of the width that config.json says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import openvino
from tokenizers import Tokenizer

from inference.worker.parent import end_with_parent

INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
STATES = ("last_hidden_state", "token_embeddings")


def encoder(path: str) -> Any:
    """The model with one output, the hidden states of each token."""
    model = openvino.Core().read_model(path)
    inputs = {name for port in model.inputs for name in port.get_names()}
    if "input_ids" not in inputs or any("past" in name for name in inputs):
        sys.exit("it is no encoder: its inputs are " + ", ".join(sorted(inputs))[:200])
    if unknown := sorted(inputs - INPUTS):
        sys.exit(f"it has an input that nothing here fills: {unknown[0]}")
    named = [port for port in model.outputs if port.get_names() & set(STATES)]
    states = named or [port for port in model.outputs if len(port.partial_shape) == 3]
    if not states:
        sys.exit(
            "it has no output of hidden states (batch, tokens, width); an exported pooling cannot be undone"
        )
    for port in [port for port in model.outputs if port is not states[0]]:
        model.remove_result(port.node)
    return model


def main() -> None:
    folder = Path(sys.argv[2])
    end_with_parent(int(sys.argv[3]))
    model = encoder(sys.argv[1])
    model.outputs[0].set_names({"last_hidden_state"})
    openvino.save_model(model, str(folder / "openvino_model.xml"), compress_to_fp16=True)
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("Hello, world!").ids
    compiled = openvino.Core().compile_model(str(folder / "openvino_model.xml"), "CPU")
    given = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
    given["position_ids"] = list(range(len(ids)))
    feed = {
        port.get_any_name(): numpy.array([given[port.get_any_name()]], numpy.int64)
        for port in compiled.inputs
    }
    shape = list(compiled(feed)[0].shape)
    width = json.loads((folder / "config.json").read_text("utf-8")).get("hidden_size")
    if shape != [1, len(ids), width]:
        sys.exit(f"it gives {shape} for {len(ids)} tokens, config.json says a width of {width}")


if __name__ == "__main__":
    main()
