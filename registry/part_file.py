"""One file on its way: `name.part` and what is needed to go on with it, until its digest is known to be right.

`name.part.etag` holds the validator of the answer that the part began with. Links are never followed, and nothing
is ever written outside of the folder: names were checked by `registry.repository_files`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from registry.disk_errors import disk_errors
from registry.hub import RemoteFile
from registry.hub_errors import DigestMismatch, TooLarge

PART: Final = ".part"
ETAG: Final = ".part.etag"
_BLOCK_BYTES: Final = 1 << 20
_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class PartFile:
    """`with PartFile(folder, file) as part`: opens or makes the part and hashes what is in it already. Blocking."""

    def __init__(self, folder: Path, file: RemoteFile) -> None:
        self.file = file
        self.path = folder / file.name
        self.size = 0
        self.etag = ""
        self.resumed = False
        """True when some of its bytes came in an earlier attempt than the last fresh start."""

    def __enter__(self) -> Self:
        with disk_errors(self.file.name):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._with(PART), _FLAGS, 0o600)
            try:
                self._read_back()
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._close()

    def restart(self, etag: str) -> None:
        """Throw away what there is; the bytes that follow are those of `etag`."""
        with disk_errors(self.file.name):
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._with(ETAG).write_text(etag, "utf-8")
        self.etag, self.resumed = etag, False
        self._begin()

    def write(self, data: bytes) -> None:
        """Raises TooLarge for a byte more than was announced, DiskFull and DiskError."""
        if self.size + len(data) > self.file.size:
            raise TooLarge(
                f"{self.file.name} has more than the {self.file.size} bytes that the hub announced"
            )
        with disk_errors(self.file.name):
            rest = memoryview(data)
            while rest:
                written = os.write(self._descriptor, rest)
                self._count(rest[:written])
                rest = rest[written:]

    def finish(self) -> str:
        """Give the whole file its name if its digest is right; its sha256. Raises DigestMismatch: nothing is
        left then."""
        try:
            check(self.file, self._sha256, self._git)
        except DigestMismatch:
            self.restart("")
            raise
        with disk_errors(self.file.name):
            os.fsync(self._descriptor)
            self._close()
            self._with(PART).replace(self.path)
            self._with(ETAG).unlink(missing_ok=True)
        return self._sha256.hexdigest()

    def _with(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _kept_etag(self) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return self._with(ETAG).read_text("utf-8")
        return ""

    def _read_back(self) -> None:
        self._begin()
        self.etag = self._kept_etag()
        if not self.etag and not self.file.etag:
            self.restart("")  # neither the server nor a digest could tell whether the rest belongs to it
        for block in _blocks(self._descriptor, self.file.size):
            self._count(block)
        os.ftruncate(self._descriptor, self.size)
        self.resumed = self.size > 0

    def _close(self) -> None:
        """Once: another thread may have got the same number since."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _begin(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._git = _git_object(self.file.size)

    def _count(self, data: bytes | memoryview) -> None:
        self._sha256.update(data)
        self._git.update(data)
        self.size += len(data)


def finished(folder: Path, file: RemoteFile) -> str:
    """The sha256 of the file if it is there, whole and right; '' otherwise. Reads it whole. Blocking."""
    path = folder / file.name
    try:
        if path.is_symlink() or path.stat().st_size != file.size:
            return ""
        sha256, git = hashlib.sha256(), _git_object(file.size)
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                sha256.update(block)
                git.update(block)
        check(file, sha256, git)
    except (OSError, DigestMismatch):
        return ""
    return sha256.hexdigest()


def check(file: RemoteFile, sha256: hashlib._Hash, git: hashlib._Hash) -> None:
    """Against the strongest digest that the hub announced; git's object id is a sha1."""
    found = sha256 if file.sha256 else git
    expected = file.sha256 or (file.etag if len(file.etag) == 40 else "")
    if expected and found.hexdigest() != expected:
        raise DigestMismatch(file.name, expected, found.hexdigest())


def _git_object(size: int) -> hashlib._Hash:
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _blocks(descriptor: int, most: int) -> Iterator[bytes]:
    """The open file's bytes from its beginning, at most so many."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    while most > 0 and (block := os.read(descriptor, min(_BLOCK_BYTES, most))):
        yield block
        most -= len(block)
