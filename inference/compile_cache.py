"""Compile caches: a folder for each model, device, driver and version of OpenVINO.

A compiled blob is of use to what compiled it alone, so whatever may change it is part of the folder's name; what is
inside is the runtime's business (CACHE_DIR). Only devices that compile for long have one (openvino-facts 13).

The runtime compiles anew when the head of a blob is damaged, and loads one with a flipped bit further on without a word
(both seen on the NPU's pipeline). So a cache is sealed with the sha256 of its files after the load that filled it, and
one that is not sealed, or not as sealed, is removed before a load.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
from pathlib import Path

from msgspec import Struct

from inference.integrity import fault_now

logger = logging.getLogger(__name__)

SEAL = "SHA256SUMS"
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
    """The load wrote into it; else it was only read."""


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


def prepare(folder: Path) -> bool:
    """Ready for a load; True when there is something to read. Blocking, as all of these are."""
    with contextlib.suppress(OSError):
        seal = (folder / SEAL).read_text("ascii")
        entries = [line.split(maxsplit=2) for line in seal.splitlines()]
        sound = {name: not fault_now(folder / name, int(size), sha256) for sha256, size, name in entries}
        if sound and all(sound.values()) and {path.name for path in _blobs(folder)} == sound.keys():
            return True
    clear(folder)
    return False


def seal(folder: Path) -> bool:
    """After a load. True when the load wrote something."""
    if wrote := _changed(folder):
        lines = []
        for path in _blobs(folder):
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{sha256} {path.stat().st_size} {path.name}\n")
        (folder / SEAL).write_text("".join(lines), "ascii")
    return wrote


def _blobs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != SEAL)


def _changed(folder: Path) -> bool:
    """Something in the folder is younger than its seal, or there is none."""
    try:
        sealed = (folder / SEAL).stat().st_mtime_ns
    except OSError:
        return folder.is_dir() and bool(_blobs(folder))
    return any(path.stat().st_mtime_ns > sealed for path in _blobs(folder))


def clear(folder: Path) -> None:
    """Removes the folder, and the model's when it was the last; a file that is in use keeps its name on Windows."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.rmdir()
    except OSError:  # other devices' caches are beside it
        return


def used(key: CompileCacheKey, path: Path) -> CompileCacheUse | None:
    """After a load with it. The model runs whatever becomes of its cache, on a full disk say: None then."""
    try:
        compiled = seal(path)
    except OSError as error:
        logger.warning("the compile cache of %s cannot be kept: %s", key.device, error.strerror)
        return None
    size = size_bytes(path)
    return CompileCacheUse(key=key, path=path, size_bytes=size, compiled=compiled) if size else None
