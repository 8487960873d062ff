"""Compile caches: a folder for each model, device, driver and version of OpenVINO.

A compiled blob is of use to what compiled it alone, so whatever may change it is part of the folder's name; what is
inside is the runtime's business (CACHE_DIR). Only devices that compile for long have one (openvino-facts 13).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from msgspec import Struct

_ODD = re.compile(r"[^A-Za-z0-9._-]+")


class CompileCacheKey(Struct, frozen=True, kw_only=True):
    """What a cache was made by."""

    digest: str
    """Of the model's files."""
    device: str
    driver: str
    """'' where the runtime does not tell; 'emulated' for an NPU without an NPU."""
    openvino: str

    def folder(self, root: Path) -> Path:
        parts = (self.device, self.driver or "unknown", self.openvino)
        return root / self.digest / "_".join(_ODD.sub("-", part) for part in parts)


class CompileCacheUse(Struct, frozen=True, kw_only=True):
    """What a load did with its cache."""

    key: CompileCacheKey
    path: Path
    size_bytes: int
    compiled: bool
    """It was empty, or had to be built again; else it was read."""


def has_cache(device: str) -> bool:
    return not device.startswith("CPU")


def size_bytes(folder: Path) -> int:
    """Of all files below; 0 for a folder that is not there."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # the runtime replaces files while we look
            continue
    return total


def clear(folder: Path) -> None:
    """Removes the folder, and the model's when it was the last; a file that is in use keeps its name on Windows."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.rmdir()
    except OSError:  # other devices' caches are beside it
        return
