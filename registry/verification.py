"""Are the files of a model the ones that were installed? Size and sha256 of each, read anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from inference.integrity import fault_of
from inference.types import ModelSpec


class FileCheck(Struct, frozen=True):
    """One file of a model; `fault` follows the file's name in a sentence and is '' for a good one."""

    model: str
    file: str
    size_bytes: int
    fault: str

    @property
    def good(self) -> bool:
        return not self.fault


def check_files(spec: ModelSpec, read: Callable[[int], object] = int) -> Iterator[FileCheck]:
    """Check file after file, the damaged ones too. Blocking: reads every byte and
    tells `read` of each block."""
    for name, (size, sha256) in sorted(spec.files.items()):
        yield FileCheck(spec.name, name, size, fault_of(spec.path / name, size, sha256, read))
