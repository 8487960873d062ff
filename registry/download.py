"""The files of a repository into a staging folder: resumable, parallel, each byte checked. No Celery, no ORM.

    staging/
      openvino_model.bin.part        on its way (registry/part_file.py)
      openvino_model.bin.part.etag
      config.json                    whole, its digest right
      .transfer.json                 of which commit all this is
      SHA256SUMS                     written last: with it the folder is a model's folder (registry/folder.py)

A folder in which an earlier transfer ended, however it ended, is gone on with.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from registry import hub
from registry.disk_errors import disk_errors
from registry.fetch import Fetch, Line
from registry.folder import SUMS
from registry.hub import RemoteFile, Repository
from registry.hub_errors import Cancelled, NoRoom
from registry.part_file import ETAG, PART
from registry.repository_files import human_size

STATE: Final = ".transfer.json"
TICK_S: Final = 0.1
"""Between two looks at what has arrived, and at whether the caller still wants it."""
RESERVE_BYTES: Final = 32 * 1024**2
"""Left free on the disk for everybody else."""

Progress = Callable[[str, int], None]


def transfer(
    repository: Repository,
    staging: Path,
    *,
    token: str = "",
    on_progress: Progress,
    cancelled: Callable[[], bool],
    parallel: int = 4,
    stall_s: float = 60.0,
) -> dict[str, str]:
    """All files into `staging`; name -> sha256. Blocking.

    `on_progress(name, completed bytes of that file)` and `cancelled()` are called on the caller's thread, at
    least each TICK_S while bytes come. `token` is the request's; without one HF_TOKEN where it is meant for this hub.
    `stall_s` of 0 waits for ever. Raises HubError; what has arrived stays in the folder for the next try.
    """
    with disk_errors("the download"):
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        prepare(repository, staging)
    _check_room(repository, staging)
    line = Line(repository, hub.token_for(repository, token), parallel=parallel, stall_s=stall_s)
    fetches = [
        Fetch(line, file, staging)
        for file in sorted(repository.files, key=lambda file: file.size, reverse=True)
    ]
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="download")
    try:
        futures = {fetch.file.name: pool.submit(fetch.run) for fetch in fetches}
        _follow(fetches, futures.values(), on_progress, cancelled)
        digests = {name: future.result() for name, future in sorted(futures.items())}
    finally:
        line.stop()
        pool.shutdown(cancel_futures=True)
        line.close()
    with disk_errors(SUMS):
        _seal(staging, digests)
    return digests


def prepare(repository: Repository, staging: Path) -> None:
    """Leave in the folder only what this transfer can go on with."""
    state = {"endpoint": repository.endpoint, "repo": repository.repo, "commit": repository.commit}
    files = {file.name: file for file in repository.files}
    same = _state(staging) == state
    for path in sorted(staging.rglob("*"), reverse=True):
        name = path.relative_to(staging).as_posix()
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        elif path.is_symlink() or not _is_of_use(name, files, same):
            path.unlink()
    (staging / STATE).write_text(json.dumps(state), "utf-8")


def _is_of_use(name: str, files: dict[str, RemoteFile], same: bool) -> bool:
    """Parts of the same commit are; whole files of another one too, where a digest will tell."""
    if name in files:
        return same or bool(files[name].etag)
    return same and name.removesuffix(ETAG).removesuffix(PART) in files


def _state(staging: Path) -> object:
    try:
        return json.loads((staging / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _check_room(repository: Repository, staging: Path) -> None:
    """Better now than after an hour. Raises NoRoom."""
    with disk_errors("the download"):
        there = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
        free = shutil.disk_usage(staging).free
    needed = max(0, repository.total_bytes - there)
    if needed + RESERVE_BYTES > free:
        raise NoRoom(
            f"{repository.repo} needs {human_size(needed)} more, and {human_size(free)} are free where the models "
            "are: free some space, or set NPU_PROXY_MODEL_PATH to a larger disk"
        )


def _follow(
    fetches: list[Fetch],
    futures: Iterable[Future[str]],
    on_progress: Progress,
    cancelled: Callable[[], bool],
) -> None:
    """Until all are there, or one has failed (its error is raised), or the caller has had enough."""
    told: dict[str, int] = {}
    pending: set[Future[str]] = set(futures)
    while pending:
        done, pending = wait(pending, timeout=TICK_S, return_when=FIRST_EXCEPTION)
        for fetch in fetches:
            if told.get(fetch.file.name) != (completed := fetch.completed):
                told[fetch.file.name] = completed
                on_progress(fetch.file.name, completed)
        for future in done:
            future.result()
        if pending and cancelled():
            raise Cancelled


def _seal(staging: Path, digests: dict[str, str]) -> None:
    """SHA256SUMS appears whole or not at all, and after everything it lists."""
    (staging / STATE).unlink(missing_ok=True)
    part = staging / (SUMS + PART)
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{sha256}  {name}\n" for name, sha256 in digests.items())
        file.flush()
        os.fsync(file.fileno())
    part.replace(staging / SUMS)
