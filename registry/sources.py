"""What lies at a path that somebody wants to have as a model: IR, GGUF, safetensors or ONNX."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from registry import ir
from registry.refusals import ImportRefused

Kind = Literal["openvino", "gguf", "safetensors", "onnx"]

PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
"""They run code when they are opened, so they never are."""
_WAY_OUT: Final = (
    "give a folder of OpenVINO IR or of safetensors, a GGUF file, or the ONNX file of an embedding model"
)
_CONFIG_BYTES: Final = 4 * 1024**2
_TOKENIZERS: Final = ("tokenizer.json", "openvino_tokenizer.xml", "openvino_tokenizer.bin")
"""The server counts with the first; embedding workers split text with the others, and schemas are compiled with them.
What lacks them loads, and fails at some later request."""


class Source(Struct, frozen=True):
    """`path`: the folder, or the one file of GGUF or ONNX."""

    kind: Kind
    path: Path

    @property
    def name(self) -> str:
        """Of the file without its suffix, or of the folder; `model.onnx` says nothing, its repository does."""
        if self.kind == "onnx" and self.path.stem == "model":
            home = self.path.parent
            return (home.parent if home.name == "onnx" else home).name
        return self.path.stem if self.kind in ("gguf", "onnx") else self.path.name

    @property
    def origin(self) -> str:
        """What a row says of where it came from: never a path, but another one for each. Not like any repository's
        name."""
        shown = self.name if self.kind == "onnx" else self.path.name
        mark = hashlib.sha256(str(self.path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return f"local: {shown} ({mark})"


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
    if any((path / f"{part}.xml").is_file() for part in (ir.WHOLE, ir.LANGUAGE)):
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


def check_ir(folder: Path, names: Iterable[str]) -> None:
    """Raises ImportRefused unless the files of these names, of a folder of IR, are all that a model needs."""
    architecture = str((config(folder).get("architectures") or [""])[0])
    there = set(names)
    needed = [*ir.files(there), *_TOKENIZERS]
    if ir.looks(there) or architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        needed += ["openvino_detokenizer.xml", "openvino_detokenizer.bin"]
    for name in needed:
        if name not in there:
            raise ImportRefused(
                folder.name,
                f"lacks {name}",
                "export it again with its tokenizer, or add it from its repository",
            )


def check_links(folder: Path) -> None:
    """Raises ImportRefused for a link that leads out of the folder: what it leads to would be shown as the model's.

    Those of a hub's cache (`snapshots/<commit>/name -> ../../blobs/<digest>`) are the model's own files.
    """
    inside = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        inside.append(folder.resolve().parent.parent / "blobs")
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        if not path.is_symlink():
            continue
        target = path.resolve()
        if not any(target.is_relative_to(place) for place in inside):
            name = path.relative_to(folder).as_posix()
            raise ImportRefused(
                folder.name, f"has a link that leads out of it ({name})", "put the file itself in its place"
            )
