"""Files that clients sent before they make a model of them: by their sha256, in a folder beside the models.

A file that is part of an installed model counts as sent: it is found where it lies. What a model was made of moves
into the model's folder; adapters stay here while a row refers to them, under a name that the runtime takes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from django.conf import settings

from inference.errors import BadRequest
from registry.disk_errors import disk_errors
from registry.models import Model

SENT_KEPT_S: Final = 3600.0
FOLDER: Final = ".blobs"
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


class DigestMismatch(BadRequest):
    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f'digest mismatch, expected "sha256:{expected}", got "sha256:{got}"', "digest")


def folder() -> Path:
    """On the file system of the models."""
    return Path(settings.MODEL_PATH) / FOLDER


def parse_digest(text: str) -> str:
    """The 64 hex digits of `sha256:…` or `sha256-…`, in lower case. Raises BadRequest."""
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise BadRequest("invalid digest format", "digest")
    return match[1].lower()


def path_of(sha256: str) -> Path:
    """Where the blob lies, if it is one."""
    return folder() / f"sha256-{sha256}"


def adapter_path(sha256: str) -> Path:
    """Where it lies as a model's adapter: the runtime goes by the name."""
    return folder() / f"sha256-{sha256}.safetensors"


def sha256_of(path: Path) -> str:
    """Of a blob or an adapter, by its name."""
    return path.name.removeprefix("sha256-").removesuffix(".safetensors")


def find(sha256: str) -> Path | None:
    """A file of this content: a blob, or part of an installed model."""
    for blob in (path_of(sha256), adapter_path(sha256)):
        if blob.is_file():
            if blob.stat().st_nlink == 1:  # else it is a model's file too, and keeps its time
                os.utime(blob)
            return blob
    for path, files in Model.objects.values_list("path", "files"):
        for name, (size, digest) in files.items():
            file: Path = Path(path) / name
            if digest == sha256 and file.is_file() and file.stat().st_size == size:
                return file
    return None


def keep(received: Path, sha256: str, expected: str) -> bool:
    """Take over a file that arrived; False when there was one already. Raises DigestMismatch."""
    if sha256 != expected:
        raise DigestMismatch(expected, sha256)
    if find(expected) is not None:
        return False
    received.replace(path_of(expected))
    return True


def adopt(path: Path) -> str:
    """The sha256 of a file of this machine, which is a blob from now on, unless it is there already. Blocking.

    The file stays where it is. Raises BadRequest when it cannot be read, and DiskError.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadRequest(f"'{path.name}' cannot be read ({error.strerror})", "files") from None
    if find(sha256) is None:
        copied = folder() / f"copy-{sha256}-{os.getpid()}"
        with disk_errors(path.name):
            folder().mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, copied)  # a link would change with its file
                copied.replace(path_of(sha256))
            finally:
                copied.unlink(missing_ok=True)
    return sha256


def drop_stale() -> None:
    """Delete what was sent, or asked for, more than SENT_KEPT_S ago. Not at once when a model was made of it: another
    client that was told it is here may be about to use it."""
    used = {
        entry["sha256"] for entries in Model.objects.values_list("adapters", flat=True) for entry in entries
    }
    for path in folder().glob("sha256-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > SENT_KEPT_S and sha256_of(path) not in used:
                path.unlink()


def drop_unused(digests: set[str]) -> None:
    """Delete these blobs; those that a row has as adapters stay as that."""
    used = {
        entry["sha256"] for entries in Model.objects.values_list("adapters", flat=True) for entry in entries
    }
    for sha256 in digests:
        with suppress(OSError):
            path_of(sha256).unlink(missing_ok=True)
            if sha256 not in used:
                adapter_path(sha256).unlink(missing_ok=True)
