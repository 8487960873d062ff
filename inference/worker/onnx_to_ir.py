"""`python -P -m inference.worker.onnx_to_ir MODEL.onnx FOLDER PARENT_PID`: an ONNX encoder becomes IR in FOLDER.

FOLDER has tokenizer.json already, of which the runtime's tokenizer is made. Ends with 0 only if the saved IR gives
vectors of the width that config.json says, and the tokenizer the ids of tokenizer.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import openvino
import openvino_genai as genai
from tokenizers import Tokenizer

from inference.worker.parent import end_with_parent
from inference.worker.wordpiece import tokenizer_ir

INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
PROBES = (
    "Hello, world!",
    "  two  spaces\tand\na line; they'll say I'VE won 3.14159",
    "Zürich, naïve façade – “quotes” … ½ ∑",
    "日本語のテキスト、中文文本，한국어 Привет мир!",
    "emoji 😀🎉 and [SEP] in the midst",
)
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
    for result in [result for result in model.get_results() if result.output(0) != states[0]]:
        model.remove_result(result)
    return model


def write_tokenizer(folder: Path) -> Tokenizer:
    """openvino_tokenizer.xml and .bin; what they were made of is returned."""
    try:
        made = tokenizer_ir(folder / "tokenizer.json")
    except (ValueError, KeyError) as error:
        sys.exit(f"{error}; import its safetensors folder instead, which is converted")
    openvino.save_model(made, str(folder / "openvino_tokenizer.xml"), compress_to_fp16=False)
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ours.no_truncation()
    ours.no_padding()
    theirs = genai.Tokenizer(str(folder))
    for probe in PROBES:
        if theirs.encode(probe).input_ids.data[0].tolist() != ours.encode(probe).ids:
            sys.exit(f"the runtime's tokenizer and tokenizer.json disagree on {probe!r}")
    return ours


def check_width(folder: Path, ids: list[int]) -> None:
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


def main() -> None:
    folder = Path(sys.argv[2])
    end_with_parent(int(sys.argv[3]))
    tokenizer = write_tokenizer(folder)
    model = encoder(sys.argv[1])
    model.outputs[0].set_names({"last_hidden_state"})
    openvino.save_model(model, str(folder / "openvino_model.xml"), compress_to_fp16=True)
    check_width(folder, tokenizer.encode(PROBES[0]).ids)


if __name__ == "__main__":
    main()
