"""The folder that holds everything the product writes: database, secret, lock, logs, models, caches.

One server at a time holds its lock; who finds it held learns so in one line. Nothing here is ever inside the
checkout.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SECRET_FILE = "secret_key"
ADDRESS_FILE = "server.json"
LOCK_FILE = "server.lock"
LOGS = "logs"
CACHE = "cache"
MODELS = "models"


class FolderError(Exception):
    """The folder cannot be used; the message is one line and says why."""


def secret_key(folder: Path) -> str:
    """The kept secret, or a new one that `prepare` will keep. Reading it creates nothing."""
    with suppress(OSError):
        if kept := (folder / SECRET_FILE).read_text("ascii").strip():
            return kept
    return secrets.token_urlsafe(48)


def default_models(folder: Path) -> Path:
    """Where models go when nobody said: a folder that an earlier program of this name filled stays in use."""
    with suppress(OSError, RuntimeError):  # no home, or one that cannot be looked into
        if (earlier := Path.home() / ".cache" / "npu-proxy" / "models").is_dir():
            return earlier
    return folder / MODELS


def prepare(folder: Path, secret: str, checkout: Path) -> None:
    """Make the folder (0700) and keep the secret (0600). Raises FolderError.

    From here on, whatever this process and its children write is for their user alone.
    """
    os.umask(0o077)
    if folder == checkout or checkout in folder.parents:
        raise FolderError(
            f"NPU_PROXY_DATA_DIR: {folder} is inside the program's own folder {checkout}; choose another"
        )
    try:
        ours = not folder.exists() or (folder / SECRET_FILE).exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (LOGS, CACHE):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        if ours:  # a folder that others use too keeps its mode; what is written into it is private anyway
            folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if not (folder / SECRET_FILE).exists():
            _write_private(folder / SECRET_FILE, secret)
    except OSError as error:
        raise FolderError(
            f"the data folder {folder} cannot be written ({error.strerror}); "
            "set NPU_PROXY_DATA_DIR to a folder of yours"
        ) from None


def _write_private(path: Path, text: str) -> None:
    """Readable by the owner alone, and never half written."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # 0600 by definition
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one server; the system lets go of it if the process dies. Raises FolderError."""
    with (folder / LOCK_FILE).open("a+b") as file:
        try:
            _lock(file.fileno())
        except OSError:
            other = read_address(folder)
            where = f" at {other['url']} (process {other['pid']})" if other else ""
            raise FolderError(
                f"another server{where} is using the data folder {folder}; "
                "stop it, or give this one its own NPU_PROXY_DATA_DIR and NPU_PROXY_PORT"
            ) from None
        yield


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_address(folder: Path, url: str, grpc: str = "") -> None:
    """Where commands of this machine find the running server; `grpc` is '' where that door is closed."""
    _write_private(folder / ADDRESS_FILE, json.dumps({"url": url, "pid": os.getpid(), "grpc": grpc}))


def read_address(folder: Path) -> dict[str, Any] | None:
    """{'url', 'pid'} as the last server wrote it; None when there is none. The server may have died since."""
    try:
        found = json.loads((folder / ADDRESS_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"url", "pid"} <= found.keys() else None


def remove_address(folder: Path) -> None:
    with suppress(OSError):
        (folder / ADDRESS_FILE).unlink()
