"""How far a pull is: what frames, progress bars and pages are made from. Read from the row, never from its worker."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from msgspec import Struct

from registry.models import Download


class FileState(Struct, frozen=True):
    name: str
    size_bytes: int
    sha256: str
    """'' while the hub announces none and the file is not whole."""
    completed_bytes: int


class PullState(Struct, frozen=True, kw_only=True):
    """One look at a row."""

    id: int | None
    """None for a model that ships with the program: there is no row."""
    name: str
    repo: str
    commit: str
    state: str
    phase: str
    files: tuple[FileState, ...]
    total_bytes: int
    completed_bytes: int
    rate: float | None
    """Bytes a second; None when nothing flows."""
    elapsed_s: float
    error: str
    error_code: str

    @property
    def is_active(self) -> bool:
        return self.state in Download.ACTIVE

    @property
    def left_s(self) -> float | None:
        """At the present rate; None where that says nothing."""
        return (self.total_bytes - self.completed_bytes) / self.rate if self.rate else None

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.completed_bytes / self.total_bytes if self.total_bytes else float(self.state == "done")


def read(download_id: int) -> PullState:
    """One query. Raises Download.DoesNotExist when the row was deleted."""
    return of(Download.objects.get(pk=download_id))


def of(row: Download) -> PullState:
    return PullState(
        id=row.pk,
        name=row.name,
        repo=row.repo,
        commit=row.commit,
        state=str(row.state),
        phase=row.phase,
        files=tuple(_file(entry) for entry in row.files),
        total_bytes=row.total_bytes,
        completed_bytes=row.completed_bytes,
        rate=row.rate,
        elapsed_s=_elapsed_s(row),
        error=row.error,
        error_code=row.error_code,
    )


def _file(entry: dict[str, Any]) -> FileState:
    return FileState(entry["name"], entry["size"], entry["sha256"], entry["completed"])


def _elapsed_s(row: Download) -> float:
    if row.started_at is None:
        return 0.0
    return max(0.0, ((row.finished_at or timezone.now()) - row.started_at).total_seconds())
