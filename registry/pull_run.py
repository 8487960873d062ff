"""One pull from its claim to its end: asks the hub, fetches, checks, converts where it must, installs.

    manifest -> files -> verify [-> convert] -> install

A second thread extends the lease and writes the progress; it is also where a cancellation, a stop and a lost lease are
noticed, so that a transfer in full flow ends within a beat.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, transaction

from inference.errors import InferenceError
from registry import aside, catalog, hub, install, names, pull_convert, pulls, sealing
from registry import download as transfers
from registry.hub_errors import DiskFull, HubError, NoRoom
from registry.models import Download, Model

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.125
RATE_WINDOW_S: Final = 5.0

_States = Download.States


class Why(Enum):
    """Why a pull ends before it is done."""

    CANCELLED = "cancelled"
    STOPPED = "stopped"
    LOST = "lost"


LOOK_S: Final = 0.1
T = TypeVar("T")


class Interrupted(Exception):
    """The pull goes no further, for the beat's reason."""


def work(
    download: Download, stop: threading.Event, on_stop: Callable[[Download], None] = pulls.hand_back
) -> None:
    """Do a claimed pull. Never raises for what went wrong with it: the row says it.

    When `stop` is set the pull is left as `on_stop` says, with its partial files.
    """
    with Beat(download, stop) as beat:
        try:
            _pull(download, beat)
            logger.info("pulled %s: %d bytes", download.name, download.total_bytes)
        except pulls.Lost:
            logger.warning("pull of %s: another owner has taken it over", download.name)
        except Exception as error:
            beat.join()
            if beat.why is Why.STOPPED:
                on_stop(download)
            elif beat.why is Why.CANCELLED:
                pulls.discard(download)
                _end(download, _States.CANCELLED)
            elif beat.why is Why.LOST:
                logger.warning("pull of %s: the lease was lost", download.name)
            else:
                _fail(download, error)


def interrupt(download: Download) -> None:
    """For `on_stop`: nobody is to go on by himself. The next pull of that name does, from the partial files."""
    _end(download, _States.FAILED, "interrupted; the next pull of it goes on from here", "interrupted")


def _fail(download: Download, error: Exception) -> None:
    if isinstance(error, HubError):
        message, code = str(error), error.code
    elif isinstance(error, InferenceError | sealing.SealBroken):
        message, code = str(error), "not_usable"
    else:
        logger.exception("pull of %s failed", download.name)
        message, code = "internal error; the server's log says more", "internal"
    logger.warning("pull of %s failed: %s", download.name, message)
    if isinstance(error, DiskFull) and not isinstance(error, NoRoom):
        pulls.discard(download)  # a disk that was filled up is not left so; the row needs room too
    _end(download, _States.FAILED, message, code)


def _end(download: Download, state: Download.States, error: str = "", code: str = "") -> None:
    try:
        try:
            pulls.end(download, state, error=error, code=code)
        except DatabaseError:  # a full disk, perhaps, and the row needs room too
            pulls.discard(download)
            pulls.end(download, state, error=error, code=code)
    except pulls.Lost:
        logger.warning("pull of %s: it ended elsewhere meanwhile", download.name)


def _pull(download: Download, beat: Beat) -> None:
    token = sealing.unseal(download.secret)
    repository = _asked(
        beat,
        lambda: hub.repository(
            download.repo,
            download.commit or download.revision,
            token=token,
            endpoint=download.endpoint,
            variant=download.variant,
        ),
    )
    pull_convert.check(repository, download.variant)
    beat.begin(repository)
    staging = pulls.staging(download)
    _seed(download, repository, staging)
    beat.verified(
        transfers.transfer(
            repository,
            staging,
            token=token,
            on_progress=beat.on_progress,
            cancelled=beat.is_over,
            stall_s=settings.PULL_TIMEOUT_S,
        )
    )
    beat.phase("verify")
    if repository.format != "openvino":
        beat.phase("convert")
    made, fields = pull_convert.make(
        repository, staging, device=download.device, variant=download.variant, cancelled=beat.is_over
    )
    beat.phase("install")
    beat.join()
    close_old_connections()  # this thread's last query may be hours ago
    _finish(download, made, fields)


def _asked(beat: Beat, ask: Callable[[], T]) -> T:
    """What the hub says. It may be silent for minutes, which who stops or cancels the pull does not wait for."""
    answer = aside.begin(ask, "hub")
    while not wait([answer], LOOK_S).done:
        beat.phase("manifest")
    return answer.result()


def _finish(download: Download, made: Path, fields: dict[str, Any]) -> None:
    """Folder and row of the model, and the end of the pull, in one transaction: all of it or nothing."""
    files, size = download.files, download.total_bytes
    facts: dict[str, Any] = {"files": files, "completed_bytes": size, "total_bytes": size}
    with transaction.atomic():
        pulls.end(download, _States.DONE, **facts)
        row = {"name": download.name, "source": download.repo, "revision": download.commit}
        install.install(made, row | fields | catalog.row_fields(download.repo))
    pulls.discard(download)


def _seed(download: Download, repository: hub.Repository, staging: Path) -> None:
    """What the model of that name has already is not fetched again: hard links, which the transfer hashes as it
    does every file; one that is damaged is replaced there, and its original left alone."""
    row = Model.by_name(names.parse(download.name)).first()
    if row is None or row.source.lower() != download.repo.lower():
        return
    for file in repository.files:
        source, target = Path(row.path) / file.name, staging / file.name
        if file.etag and row.files.get(file.name, [None])[0] == file.size and not source.is_symlink():
            with suppress(OSError):  # there already, gone, or on another disk
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.link(source, target)


class Beat:
    """The heartbeat of one pull, in a thread with a database connection of its own.

    `why` says why the pull is to end; `is_over` is what the transfer asks between two blocks.
    """

    def __init__(self, download: Download, stop: threading.Event) -> None:
        self.why: Why | None = None
        self._download = download
        self._stop = stop
        self._phase = "manifest"
        self._done: dict[str, int] = {}
        self._resumed_bytes = 0
        self._window: deque[tuple[float, int]] = deque()
        self._heard_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"beat of pull {download.pk}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.join()

    def join(self) -> None:
        """End the thread; what it knew last is written."""
        self._ended.set()
        self._thread.join()

    # --- told by the pull ----------------------------------------------------------------------------------------

    def begin(self, repository: hub.Repository) -> None:
        """The manifest is known. Raises Interrupted, as all that follow."""
        self._download.commit = repository.commit
        self._download.files = [
            {"name": file.name, "size": file.size, "sha256": file.sha256, "completed": 0}
            for file in repository.files
        ]
        self._download.total_bytes = sum(file.size for file in repository.files)
        self.phase("files")

    def phase(self, name: str) -> None:
        self._phase = name
        if self.is_over():
            raise Interrupted

    def on_progress(self, name: str, completed: int) -> None:
        """From any thread: so many bytes of the file are here."""
        if name not in self._done:
            self._resumed_bytes += completed  # was here before: not part of the rate
        self._done[name] = completed

    def verified(self, sha256s: dict[str, str]) -> None:
        """Every file is here, and this is what it hashes to."""
        for file in self._download.files:
            file["sha256"] = sha256s.get(file["name"], file["sha256"])
        self.all_there()

    def all_there(self) -> None:
        self._done.update({file["name"]: file["size"] for file in self._download.files})

    def is_over(self) -> bool:
        """Stop now? Also true when the process slept past its lease, whoever owns the pull meanwhile."""
        if self.why is None and time.monotonic() - self._heard_at > settings.PULL_LEASE_S:
            self.why = Why.LOST
        return self.why is not None

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            over = False
            while not over:
                over = self._ended.wait(BEAT_S)
                self._beat()
        finally:
            connection.close()

    def _beat(self) -> None:
        try:
            wanted_gone = pulls.beat(self._download, **self._progress())
            self._heard_at = time.monotonic()
        except pulls.Lost:
            self.why = self.why or Why.LOST
            return
        except DatabaseError as error:
            logger.warning("pull of %s: its progress cannot be written (%s)", self._download.name, error)
            connection.close()  # a database that was restarted needs a new one
            return
        if wanted_gone:
            self.why = self.why or Why.CANCELLED
        elif self._stop.is_set():
            self.why = self.why or Why.STOPPED

    def _progress(self) -> dict[str, Any]:
        files = self._download.files
        for file in files:
            file["completed"] = min(file["size"], self._done.get(file["name"], 0))
        completed = sum(file["completed"] for file in files)
        return {
            "phase": self._phase,
            "commit": self._download.commit,
            "files": files,
            "total_bytes": self._download.total_bytes,
            "completed_bytes": completed,
            "rate": self._rate(completed),
        }

    def _rate(self, completed: int) -> float | None:
        """Bytes a second over the window; None before there is one."""
        now, completed = time.monotonic(), completed - self._resumed_bytes
        self._window.append((now, completed))
        while now - self._window[0][0] > RATE_WINDOW_S:
            self._window.popleft()
        then, before = self._window[0]
        return (completed - before) / (now - then) if now > then and self._phase == "files" else None
