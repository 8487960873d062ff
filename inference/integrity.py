"""Model files against their digests: the runtime may load a truncated or flipped file without a word."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from inference.errors import ModelDamaged
from inference.types import ModelSpec

_BLOCK_BYTES = 1 << 20
_Fingerprint = tuple[str, int, int, int]
_known_good: dict[_Fingerprint, str] = {}
_lock = threading.Lock()


def verify(spec: ModelSpec) -> None:
    """Every file present, of its size, with its sha256. Blocking. Raises ModelDamaged for the first that is not.

    A file that was right once is not read again while its size, time of change and inode stay.
    """
    for name, (size, digest) in spec.files.items():
        _verify_file(spec.name, spec.path / name, name, size, digest)
    for adapter in spec.adapters:
        _verify_file(spec.name, adapter.path, "an adapter's file", adapter.size_bytes, adapter.sha256)


def _verify_file(model: str, path: Path, name: str, size: int, digest: str) -> None:
    if fault := fault_now(path, size, digest):
        raise ModelDamaged(model, name, fault)


def fault_now(path: Path, size: int, digest: str) -> str:
    """As `fault_of`, but a file that was right once is not read again while nothing changed it."""
    try:
        stat = path.stat()
    except OSError:
        return "is missing or cannot be read"
    fingerprint = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if _known_good.get(fingerprint) == digest:
        return ""
    fault = fault_of(path, size, digest)
    if not fault:
        with _lock:
            _known_good[fingerprint] = digest
    return fault


def fault_of(path: Path, size: int, digest: str, read: Callable[[int], object] = int) -> str:
    """What is wrong with the file, in words that follow its name; '' if nothing is. Reads it whole. Blocking.

    `read` is told the size of each block that was read.
    """
    hashed = hashlib.sha256()
    try:
        found = path.stat().st_size
        if found != size:
            return f"has {found} bytes instead of {size}"
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                hashed.update(block)
                read(len(block))
    except OSError:
        return "is missing or cannot be read"
    return "" if hashed.hexdigest() == digest else "does not match its sha256"
