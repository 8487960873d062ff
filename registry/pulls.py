"""The states of a pull: who asks, who works on it, how it ends. All rows, no bytes; `registry.pull_run` moves those.

1. The row is the truth. Whoever changes its state does so by one conditional update and looks at the row count.
2. A pull belongs to its owner while the lease runs. The owner extends it several times a second; when it has ended,
   anybody may take the pull over.
3. Nothing waits for a message. `requested` says at once that there is work; the reaper finds what nobody heard of.
4. A pull that is cancelled leaves nothing; one that failed or was interrupted leaves its partial files, and the next
   pull of that name goes on from there. A full disk is the exception: what was fetched is given back.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Lower, Now
from django.dispatch import Signal
from django.utils import timezone

from inference.errors import BadRequest, Unavailable
from registry import catalog, devices, install, names, sealing
from registry.models import Download, Model

MOST_ATTEMPTS: Final = 5
"""Owners that may die over one pull before it is taken for the cause."""

CANCEL_WAIT_S: Final = 2.0

STAGING_KEPT_S: Final = 7 * 24 * 3600.0
"""Partial files of a pull that nobody asked for again."""

requested = Signal()
"""Sent when a pull waits for an owner and the row is durable; `download` is the row. The server wakes a worker."""

_States = Download.States


class NotActive(Exception):
    """The pull has ended already."""


class Lost(Exception):
    """The pull belongs to another owner, or has ended."""


def owner_name() -> str:
    """A name for this process that no other has: host, process id, a random part."""
    return f"{socket.gethostname()[:150]}:{os.getpid()}:{secrets.token_hex(4)}"


# --- Asking ---------------------------------------------------------------------------------------------------


def request(
    text: str, *, token: str = "", endpoint: str = "", device: str = "", revision: str = ""
) -> Download:
    """The pull of that name: the active one if there is one, else a new one.

    For a model that ships with the program it is a row that was never saved and has ended. Raises what `names.refer`
    raises.
    """
    device = device or devices.preferred()
    if (shipped := _shipped(text)) is not None:
        return _of_builtin(shipped)
    reference = names.refer(f"{text}@{revision}" if revision else text, device)
    if not reference.repo:
        return _of_builtin(reference.name)
    return _join_or_make(
        Download(
            name=reference.name.display,
            repo=reference.repo,
            revision=reference.revision,
            variant=reference.variant,
            endpoint=endpoint,
            device=device,
            secret=sealing.seal(token),
        )
    )


def again(ended: Download) -> Download:
    """The same pull anew; without the token, which is gone."""
    fields = ("name", "repo", "revision", "variant", "endpoint", "device")
    return _join_or_make(Download(**{field: getattr(ended, field) for field in fields}))


def pull_again(model: Model) -> Download:
    """What the model came from, as it is on the hub now. Raises ValueError for a model that came from no hub, or was
    made of another one."""
    if not model.is_of_hub:
        raise ValueError(model.name)
    last = Download.objects.filter(name__iexact=model.name, repo=model.source).first()
    if last is not None:
        return again(last)
    return _join_or_make(Download(name=model.name, repo=model.source))


def _join_or_make(wish: Download) -> Download:
    for last_try in (False, False, True):
        active = _until_cancelled(wish.name)
        if active is not None:
            return active
        try:
            with transaction.atomic():
                wish.save(force_insert=True)
                transaction.on_commit(lambda: _announce(wish))
            break
        except IntegrityError:  # another one was faster; it may have ended before we looked
            if last_try:
                raise
    return wish


def _until_cancelled(name: str) -> Download | None:
    """The active pull of that name. One that is being cancelled is not joined: it ends within a beat of its owner.

    Raises Unavailable when its owner does not hear of it.
    """
    deadline = time.monotonic() + CANCEL_WAIT_S
    while (active := active_of(name)) is not None and active.cancel_requested:
        if time.monotonic() > deadline:
            raise Unavailable(f"the pull of '{name}' is being cancelled, please try again", CANCEL_WAIT_S)
        time.sleep(0.1)
    return active


def _announce(download: Download) -> None:
    requested.send(sender=Download, download=download)


def active_of(name: str) -> Download | None:
    """The active pull of a name as rows spell it, whatever its case."""
    rows = Download.objects.alias(key=Lower("name")).filter(key=name.lower(), state__in=Download.ACTIVE)
    return rows.first()


def active_of_text(text: str) -> Download | None:
    """The active pull that a user means; None too where the name means nothing to a pull."""
    try:
        return active_of(names.refer(text).name.display)
    except names.UnknownModel:
        return None


def _shipped(text: str) -> names.Name | None:
    """The name of a model that ships with the program and has no other source, such as `demo`."""
    try:
        name = names.parse(text)
    except BadRequest:
        return None
    is_known = catalog.find(name.key) is not None
    return name if not is_known and Model.by_name(name).filter(builtin=True).exists() else None


def _of_builtin(name: names.Name) -> Download:
    row = Model.by_name(name).first()
    files = [
        {"name": name, "size": size, "sha256": sha256, "completed": size}
        for name, (size, sha256) in sorted((row.files if row else {}).items())
    ]
    size = sum(entry["size"] for entry in files)
    return Download(
        name=name.display,
        state=_States.DONE,
        files=files,
        total_bytes=size,
        completed_bytes=size,
        finished_at=timezone.now(),
    )


# --- Working --------------------------------------------------------------------------------------------------


def claim(owner: str, download_id: int | None = None) -> Download | None:
    """The pull that waits longest (or that one) as the owner's; None when none is to be had."""
    while True:
        free = _free() if download_id is None else _free().filter(pk=download_id)
        pk = free.order_by("created_at", "pk").values_list("pk", flat=True).first()
        if pk is None:
            return None
        taken = free.filter(pk=pk).update(
            state=_States.RUNNING,
            owner=owner,
            lease_until=_lease(),
            attempts=F("attempts") + 1,
            phase="manifest",
            rate=None,
            started_at=Coalesce(F("started_at"), Now()),
        )
        if taken:
            return Download.objects.get(pk=pk)


def _free() -> QuerySet[Download]:
    ended = Q(
        state=_States.RUNNING, lease_until__lt=Now(), cancel_requested=False, attempts__lt=MOST_ATTEMPTS
    )
    return Download.objects.filter(Q(state=_States.QUEUED) | ended)


def _lease() -> Any:
    """By the database's clock, which all owners share."""
    return Now() + timedelta(seconds=settings.PULL_LEASE_S)


def _own(download: Download) -> QuerySet[Download]:
    return Download.objects.filter(pk=download.pk, state=_States.RUNNING, owner=download.owner)


def beat(download: Download, **progress: Any) -> bool:
    """Extend the lease and write the progress. Returns whether somebody wants it cancelled. Raises Lost."""
    if not _own(download).update(lease_until=_lease(), **progress):
        raise Lost
    return bool(Download.objects.values_list("cancel_requested", flat=True).get(pk=download.pk))


def end(download: Download, state: Download.States, *, error: str = "", code: str = "", **facts: Any) -> None:
    """The owner's last word. Raises Lost; inside a transaction that undoes what was done for the row."""
    if not _own(download).update(state=state, error=error, error_code=code, **_ENDED, **facts):
        raise Lost


_ENDED: Final[dict[str, Any]] = {
    "finished_at": Now(),
    "lease_until": None,
    "secret": "",
    "phase": "",
    "rate": None,
    "cancel_requested": False,
}


def hand_back(download: Download) -> None:
    """The owner stops in good order: the next one goes on from its files, and this was no failed attempt."""
    _own(download).update(attempts=F("attempts") - 1, **_WAITING)


_WAITING: Final[dict[str, Any]] = {
    "state": _States.QUEUED,
    "owner": "",
    "lease_until": None,
    "phase": "",
    "rate": None,
}


# --- Ending what others began ---------------------------------------------------------------------------------


def cancel(download: Download) -> None:
    """Ask for its end; at once if nobody works on it, else within a beat of its owner. Raises NotActive."""
    waiting = Download.objects.filter(pk=download.pk, state=_States.QUEUED)
    if waiting.update(state=_States.CANCELLED, **_ENDED):
        discard(download)
        return
    running = Download.objects.filter(pk=download.pk, state=_States.RUNNING)
    if not running.update(cancel_requested=True):
        raise NotActive


def reap(dead_owner: str = "") -> int:
    """See to the pulls whose lease ended, and to those of an owner that is known to be dead. Returns how many.

    They wait again; but one that was to be cancelled is, and one that outlived MOST_ATTEMPTS owners has failed. Folders
    of models that were replaced go on the way.
    """
    install.bury()
    left = Q(lease_until__lt=Now())
    if dead_owner:
        left |= Q(owner=dead_owner)
    orphans = Download.objects.filter(left, state=_States.RUNNING)
    changed = 0
    for row in orphans.filter(cancel_requested=True):
        if orphans.filter(pk=row.pk, owner=row.owner).update(state=_States.CANCELLED, **_ENDED):
            discard(row)
            changed += 1
    changed += orphans.filter(attempts__gte=MOST_ATTEMPTS).update(
        state=_States.FAILED,
        error=f"the process that worked on it died {MOST_ATTEMPTS} times; the log says why",
        error_code="worker_died",
        **_ENDED,
    )
    return changed + orphans.filter(cancel_requested=False).update(**_WAITING)


def any_active() -> bool:
    return Download.objects.filter(state__in=Download.ACTIVE).exists()


def waiting() -> list[int]:
    """The ids of the pulls that wait for an owner, the oldest first."""
    rows = Download.objects.filter(state=_States.QUEUED).order_by("created_at", "pk")
    return list(rows.values_list("pk", flat=True))


# --- Files that are not a model yet ---------------------------------------------------------------------------


def staging(download: Download) -> Path:
    """Where the files of that name are gathered; the next pull of it goes on with what is of use to it."""
    return install.staging_folder(names.parse(download.name))


def discard(download: Download) -> None:
    """Remove every partial file of that name."""
    shutil.rmtree(staging(download), ignore_errors=True)


def sweep() -> int:
    """Remove partial files that nothing has written to for STAGING_KEPT_S. Returns how many pulls' they were."""
    kept = {staging(row) for row in Download.objects.filter(state__in=Download.ACTIVE)}
    root = install.models_folder() / install.STAGING
    old = [folder for folder in root.glob("*") if folder not in kept and _idle_s(folder) > STAGING_KEPT_S]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return len(old)


def _idle_s(folder: Path) -> float:
    newest = max((path.lstat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
    return time.time() - newest
