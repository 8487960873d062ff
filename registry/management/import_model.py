"""`manage.py models import PATH`: what it asks, what it shows while it works, what it prints at the end."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, TextIO, cast

from inference.errors import InferenceError
from registry import converter, importer, sources
from registry.convert import PRECISIONS, Precision, Progress
from registry.importer import Wishes
from registry.models import Model

_PHASES = {
    "install": "installing the converter",
    "load": "loading the weights",
    "export": "exporting",
    "compress": "compressing the weights",
    "check": "checking",
    "reading": "reading the weights",
    "checking": "trying the model",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a folder of OpenVINO IR or safetensors, a GGUF or ONNX file")
    parser.add_argument("--name", default="", help="its name here; else that of the folder or file")
    parser.add_argument(
        "--copy", action="store_true", help="copy IR to the models; else it stays where it is"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="int8",
        help="of weights that are converted; int4-npu: as NPUs want it (symmetric, channel-wise)",
    )  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="install the converter (1.6 GB) if it is needed")


def run(path: Path, name: str, copy: bool, precision: str, yes: bool, as_json: bool, out: TextIO) -> None:
    """Raises InferenceError."""
    consent = True if yes else None
    if not yes and not as_json and _needs_converter(path) and sys.stdin.isatty():
        consent = input(
            "The converter is not installed and takes 1.6 GB. Install it now? [y/N] "
        ).lower() in ("y", "yes")
        consent = consent or None
    line = ProgressLine(sys.stderr)
    try:
        row = importer.adopt(
            path,
            name,
            Wishes(copy=copy, precision=cast(Precision, precision), consent=consent, on_progress=line.show),
        )
    finally:
        line.clear()
    out.write((json.dumps(facts(row), indent=2, ensure_ascii=False) if as_json else _sentence(row)) + "\n")


def _needs_converter(path: Path) -> bool:
    try:
        return sources.look(path).kind == "safetensors" and not converter.is_installed()
    except InferenceError:
        return False  # adopt() will say it


def facts(row: Model) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "format": row.format,
        "architecture": row.architecture,
        "quantization": row.quantization,
        "context_length": row.context_length,
        "size_bytes": row.size_bytes,
        "digest": row.digest,
        "path": row.path,
    }


def _sentence(row: Model) -> str:
    size = f"{row.size_bytes / 1e9:.1f} GB" if row.size_bytes >= 1e9 else f"{row.size_bytes / 1e6:.1f} MB"
    return f"{row.name}: {row.kind}, {row.architecture}, {row.quantization}, {size}"


class ProgressLine:
    """One line on a terminal; elsewhere a line for each phase."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rewrites = stream.isatty()
        self._phase = ""

    def show(self, progress: Progress) -> None:
        words = _PHASES.get(progress.phase, progress.phase)
        if self._rewrites:
            share = f"  {progress.share:4.0%}" if progress.share is not None else ""
            self._stream.write(f"\r\x1b[K{words}{share}  {progress.elapsed_s:.0f} s")
            self._stream.flush()
        elif progress.phase != self._phase:
            self._stream.write(f"{words}\n")
        self._phase = progress.phase

    def clear(self) -> None:
        if self._rewrites and self._phase:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
