"""Files of the kernel below a root folder: small, textual, and allowed to be missing, unreadable or nonsense.

A file that is not there is no news: devices come and go. Any other failure becomes a note.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from inference.telemetry.readings import Note

_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR)
_MOST_BYTES = 1 << 16
_DIGITS = re.compile(r"(\d+)")


class Files:
    """Reads below `root`; remembers what failed until `take_faults`. One thread at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = str(root).rstrip("/")
        self._faults: dict[str, str] = {}

    def text(self, path: str, note: bool = True) -> str | None:
        """Without the line end. None where there is nothing, or nothing that can be read."""
        try:
            descriptor = os.open(self._root + path, os.O_RDONLY)
            try:
                return os.read(descriptor, _MOST_BYTES).decode("utf-8", "replace").strip()
            finally:
                os.close(descriptor)
        except OSError as error:
            if note and error.errno not in _GONE:
                self._faults[path] = error.strerror or str(error)
            return None

    def number(self, path: str, note: bool = True) -> int | None:
        """A whole number; anything else in the file is a fault."""
        text = self.text(path, note)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            if note:
                self._faults[path] = f"{text[:20]!r} is not a number"
            return None

    def forbidden(self, path: str) -> bool:
        """Whether the file is there and we may not read it."""
        try:
            os.close(os.open(self._root + path, os.O_RDONLY))
        except OSError as error:
            return error.errno in (errno.EACCES, errno.EPERM)
        return False

    def exists(self, path: str) -> bool:
        return Path(self._root + path).exists()

    def entries(self, path: str, pattern: str = "") -> list[str]:
        """Names in a folder that match from their beginning to their end, hwmon2 before hwmon10; [] without it."""
        try:
            with os.scandir(self._root + path) as found:
                names = [entry.name for entry in found]
        except OSError:
            return []
        wanted = re.compile(pattern) if pattern else None
        return sorted((name for name in names if wanted is None or wanted.fullmatch(name)), key=_natural)

    def uevent(self, folder: str) -> dict[str, str]:
        """DRIVER, PCI_SLOT_NAME, PCI_ID … of a device."""
        lines = (self.text(f"{folder}/uevent", note=False) or "").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def take_faults(self) -> tuple[Note, ...]:
        """What failed since the last call, one note a file."""
        faults, self._faults = self._faults, {}
        return tuple(Note(f"{path.removeprefix('/sys/class/')}: {why}") for path, why in faults.items())


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name))
