"""What lies at a path that somebody wants to have as a model: IR, GGUF, safetensors or ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from registry.refusals import ImportRefused

Kind = Literal["openvino", "gguf", "safetensors", "onnx"]

PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
"""They run code when they are opened, so they never are."""
_WAY_OUT: Final = (
    "give a folder of OpenVINO IR or of safetensors, a GGUF file, or the ONNX file of an embedding model"
)
_CONFIG_BYTES: Final = 4 * 1024**2


class Source(Struct, frozen=True):
    """`path`: the folder, or the one file of GGUF or ONNX."""

    kind: Kind
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem if self.kind in ("gguf", "onnx") and self.path.is_file() else self.path.name


def look(path: Path) -> Source:
    """Raises ImportRefused."""
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
    except OSError as error:
        raise ImportRefused(path.name, f"cannot be read ({error.strerror})", "check its rights") from None
    raise ImportRefused(str(path.name), "does not exist", _WAY_OUT)


def _file(path: Path) -> Source:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"GGUF" or path.suffix == ".gguf":
        return Source("gguf", path)
    if path.suffix == ".onnx":
        return Source("onnx", path)
    if path.suffix in (".xml", ".safetensors"):
        raise ImportRefused(path.name, "is one file of several", "give its folder")
    if path.suffix in PICKLES:
        raise ImportRefused(path.name, "is a pickle, which runs code when it is opened", _WAY_OUT)
    raise ImportRefused(path.name, "is no model that is known here", _WAY_OUT)


def _folder(path: Path) -> Source:
    if (path / "openvino_model.xml").is_file():
        return Source("openvino", path)
    if any(path.glob("*.safetensors")):
        return Source("safetensors", path)
    ggufs = sorted(path.glob("*.gguf"))
    if ggufs:
        return Source("gguf", _only(path, ggufs))
    onnx = sorted((*path.glob("*.onnx"), *path.glob("onnx/*.onnx")))
    if onnx:
        plain = [file for file in onnx if file.name == "model.onnx"]
        return Source("onnx", _only(path, plain or onnx))
    pickles = [file.name for file in sorted(path.iterdir()) if file.suffix in PICKLES]
    if pickles:
        raise ImportRefused(
            path.name, f"holds pickles alone ({pickles[0]}), which run code when opened", _WAY_OUT
        )
    raise ImportRefused(path.name, "holds no model that is known here", _WAY_OUT)


def _only(folder: Path, files: list[Path]) -> Path:
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:5])
        raise ImportRefused(
            folder.name, f"holds {len(files)} models ({names})", "give the path of one of them"
        )
    return files[0]


def config(folder: Path) -> dict[str, Any]:
    """config.json. Raises ImportRefused."""
    file = folder / "config.json"
    try:
        if file.stat().st_size > _CONFIG_BYTES:
            raise ImportRefused(
                folder.name, "has a config.json of more than 4 MB", "check where it came from"
            )
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise ImportRefused(folder.name, "has no config.json", "add it from the model's repository") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ImportRefused(folder.name, "has a config.json that is not JSON", "download it again") from None
    if not isinstance(value, dict):
        raise ImportRefused(folder.name, "has a config.json that is no object", "download it again")
    return value
