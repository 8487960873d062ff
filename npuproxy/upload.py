"""A request body that goes to a file while it arrives: the bodies of operations that take files, however large.

The loop hands what came to a thread, which hashes and writes it; while more than PENDING_BYTES wait for the disk, the
connection is not read. What the request's handler has not moved away by the end of the request is deleted.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PENDING_BYTES = 4 * 1024 * 1024
"""Of one body, received and not yet written."""

SPARE_BYTES = 256 * 1024 * 1024
"""Left free on the disk, for the database and the logs beside the models."""

STALL_S = 60.0
WRITERS = 2
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="upload")


class Rules(NamedTuple):
    """Where uploads go and what one may cost."""

    folder: Path
    """On the file system of the models, so that a file is moved and not copied. Emptied at the start."""
    most_bytes: int
    stall_s: float = STALL_S
    """Without a byte for so long, a request is given up; there is no other deadline."""

    def fault_of(self, length: int | None) -> tuple[int, str] | None:
        """Status and words for a body of this announced length that will not be received."""
        if length is None:
            return None
        if length > self.most_bytes:
            return self.too_large()
        if length + SPARE_BYTES > shutil.disk_usage(self.folder).free:
            return (
                507,
                f"no room for a file of {length} bytes on the disk of the models; free some and try again",
            )
        return None

    def too_large(self) -> tuple[int, str]:
        return 413, f"the file is larger than {self.most_bytes} bytes; NPU_PROXY_MAX_UPLOAD sets the limit"


class Received(NamedTuple):
    """A body as its handler gets it, in the scope as `npuproxy.upload`."""

    path: Path
    sha256: str
    size_bytes: int


class UploadFailed(Exception):
    """`status` and words for the client."""

    def __init__(self, error: OSError) -> None:
        full = error.errno in _NO_ROOM
        super().__init__(
            "the disk of the models is full; free some room and try again"
            if full
            else "the file was not stored"
        )
        self.status = 507 if full else 500


class Upload:
    """One body. Event loop only; `pause` and `resume` stop and start the reading of its connection."""

    def __init__(self, rules: Rules, pause: Callable[[], object], resume: Callable[[], object]) -> None:
        self.rules = rules
        self.size_bytes = 0
        self._pause = pause
        self._resume = resume
        self._loop = asyncio.get_running_loop()
        self._sha256 = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._paused = False
        self._fault: OSError | None = None
        self._discarded = False
        self._last_byte = time.monotonic()
        descriptor, name = tempfile.mkstemp(prefix="upload-", suffix=".part", dir=rules.folder)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._path = Path(name)

    def feed(self, data: bytes) -> None:
        self._last_byte = time.monotonic()
        self.size_bytes += len(data)
        if self._fault is not None or self._discarded:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > PENDING_BYTES and not self._paused:
            self._paused = True
            self._pause()
        if self._writing is None:
            self._begin_write()

    def stalled_s(self, now: float) -> float:
        """Seconds since the client last sent a byte; 0 while it is we who do not read."""
        return 0.0 if self._paused or self._writing is not None else now - self._last_byte

    async def finish(self) -> Received:
        """When every byte is written. Raises UploadFailed."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        if self._fault is None:
            try:
                await self._loop.run_in_executor(_threads, self._close)
            except OSError as error:
                self._fault = error
        if self._fault is not None:
            self.discard()
            raise UploadFailed(self._fault)
        return Received(self._path, self._sha256.hexdigest(), self.size_bytes)

    def discard(self) -> None:
        """The file is deleted, unless it was moved away; twice is once."""
        self._discarded = True
        self._waiting.clear()
        if self._writing is None:
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _begin_write(self) -> None:
        parts, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._writing = self._loop.run_in_executor(_threads, self._write, parts)
        self._writing.add_done_callback(self._written)

    def _write(self, parts: list[bytes]) -> None:
        for part in parts:
            self._sha256.update(part)
            rest = memoryview(part)
            while rest:
                rest = rest[self._file.write(rest) :]

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        error = None if writing.cancelled() else writing.exception()
        if isinstance(error, OSError):
            self._fault = error
            self._waiting.clear()
        if self._discarded:
            self.discard()
        elif self._waiting:
            self._begin_write()
        if self._paused and self._waiting_bytes <= PENDING_BYTES:
            self._paused = False
            self._resume()

    def _close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def prepare(folder: Path) -> None:
    """Make the folder and empty it of what an earlier server left. Only who holds the data folder's lock may."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("upload-*.part"):
        left.unlink(missing_ok=True)
