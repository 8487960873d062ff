"""Writes `SHA256SUMS` over a model's files, and checks one that is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from inference.errors import ModelDamaged
from inference.integrity import fault_of
from registry import folder as folders
from registry.refusals import ImportRefused

SUFFIXES: Final = (".xml", ".bin", ".json", ".jinja", ".txt", ".model", ".md")
"""Of what belongs to a model; weights that IR was made from, caches and notes do not."""
MAX_FILES: Final = 1000
_BLOCK_BYTES: Final = 1 << 20


def model_files(folder: Path) -> list[str]:
    """Relative names with `/`, sorted: files of the folder itself and of one level of folders below it."""
    found = []
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if path.is_file() and not hidden and path.name != folders.SUMS and _belongs(path):
            found.append(name)
    if len(found) > MAX_FILES:
        raise ImportRefused(folder.name, f"holds {len(found)} files", "give the folder of one model")
    return found


def _belongs(path: Path) -> bool:
    if path.suffix == ".bin" and not path.name.startswith("openvino_"):
        return False
    return path.suffix in SUFFIXES or path.stem.upper() in ("LICENSE", "LICENCE", "NOTICE")


def write(folder: Path, read: Callable[[int], object] = int) -> None:
    """Hash every file and write the list; `read` is told the size of each block."""
    lines = []
    for name in model_files(folder):
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                read(len(block))
        lines.append(f"{digest.hexdigest()}  {name}\n")
    try:
        (folder / folders.SUMS).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ImportRefused(
            folder.name,
            f"cannot be written to ({error.strerror}), it needs a {folders.SUMS}",
            "import it with --copy",
        ) from None


def check(folder: Path, read: Callable[[int], object] = int) -> None:
    """Every listed file as listed, and nothing that makes an answer left out of the list. Raises ModelDamaged."""
    listed = folders.sums(folder)
    for name, sha256 in sorted(listed.items()):
        path = folder / name
        size = path.stat().st_size if path.is_file() else 0
        if fault := fault_of(path, size, sha256, read):
            raise ModelDamaged(folder.name, name, fault)
    for name in model_files(folder):
        if name not in listed and not name.endswith((".md", ".txt")):
            raise ModelDamaged(folder.name, folders.SUMS, f"does not list {name}")
