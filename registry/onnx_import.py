"""An ONNX embedding model -> a folder of OpenVINO IR. Language models in ONNX are refused with the way out."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from registry import child, sources, sums
from registry.refusals import ImportRefused

DEADLINE_S: Final = 900.0
KEPT: Final = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "modules.json",
    "sentence_bert_config.json", "1_Pooling/config.json", "README.md", "LICENSE", "LICENSE.txt",
)  # fmt: skip
_LLM: Final = "import its safetensors folder, which is converted, or pull a build with OpenVINO IR"
_ROOT: Final = Path(__file__).resolve().parent.parent


def convert(
    file: Path,
    target: Path,
    *,
    on_phase: Callable[[str], object] = str,
    cancelled: Callable[[], bool] = bool,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Fill the empty folder `target`, SHA256SUMS included. Blocking. config.json and tokenizer.json are taken from the
    file's folder, or from the one above it (`onnx/model.onnx`).

    Raises ImportRefused, ConversionFailed, ConversionCancelled.
    """
    on_phase("check")
    source = _home(file)
    architecture = str((sources.config(source).get("architectures") or [""])[0])
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        raise ImportRefused(
            file.name, f"is a language model in ONNX ({architecture}), which does not run here", _LLM
        )
    if not architecture.endswith("Model"):
        raise ImportRefused(
            file.name, f"has the architecture {architecture[:60]!r}, no embedding model's", _LLM
        )
    for name in KEPT:
        if (source / name).is_file():
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, target / name)
    on_phase("convert")
    child.run(
        [
            sys.executable, "-P", "-m", "inference.worker.onnx_to_ir", str(file.resolve()), str(target.resolve()),
            str(os.getpid()),
        ],
        f"the conversion of '{file.name}'",
        cancelled=cancelled, deadline_s=deadline_s, folder=_ROOT,
        variables=child.environment(PYTHONPATH=str(_ROOT)),
    )  # fmt: skip
    sums.write(target)


def _home(file: Path) -> Path:
    for folder in (file.parent, file.parent.parent):
        if (folder / "config.json").is_file():
            if not (folder / "tokenizer.json").is_file():
                raise ImportRefused(
                    file.name, "has no tokenizer.json beside it", "add it from the model's repository"
                )
            return folder
    raise ImportRefused(file.name, "has no config.json beside it", "give it in its repository's folder")
