"""Celery: claim, call, record. A message says only that there is work; which, the rows say."""

from __future__ import annotations

import threading

from celery import shared_task

from registry import pulls

OWNER = pulls.owner_name()
"""Of this process; whoever started it may set another name before the first task runs."""

stop = threading.Event()
"""Set when the process is to end: pulls that run are handed back."""


@shared_task(name="registry.pull", ignore_result=True)
def pull() -> None:
    """Work on the pull that waits longest, if any does."""
    from registry import pull_run

    if stop.is_set():
        return
    download = pulls.claim(OWNER)
    if download is not None:
        pull_run.work(download, stop)
