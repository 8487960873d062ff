"""`python -P -m npuproxy.jobs_worker OWNER PARENT_PID`: the Celery worker that the server starts when pulls wait.

Threads, no forks: a process with threads and connections does not survive a fork. It ends when it was idle for
NPU_PROXY_JOBS_IDLE, when the server closes its standard input, and with the server, however that ended.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from typing import Any

from inference.worker.parent import end_with_parent

LOOK_S = 0.2
HANDED_BACK_S = 0.02
"""Between two looks at whether the pulls have been handed back."""


def main(owner: str, parent_pid: int) -> int:
    end_with_parent(parent_pid)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "npuproxy.settings")
    import django

    django.setup()
    from django.conf import settings

    from npuproxy.celery import app
    from registry import tasks

    tasks.OWNER = owner
    # to root, about messages that run code; ours are JSON, and a container has no other user
    warnings.filterwarnings("ignore", r"\s*You're running the worker with superuser privileges")
    options: dict[str, Any] = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}
    worker = app.Worker(pool="threads", quiet=True, hostname=f"npuproxy@{owner}", **options)
    for watch in (_end_with_standard_input, lambda: _end_when_idle(settings.JOBS_IDLE_S)):
        threading.Thread(target=watch, daemon=True).start()
    worker.start()
    return int(worker.exitcode or 0)


def _end_with_standard_input() -> None:
    """The server never writes; an end of file means that it stops, or is gone."""
    from celery.worker import state

    sys.stdin.buffer.read()
    _end()
    while state.reserved_requests or state.active_requests:
        time.sleep(HANDED_BACK_S)
    os._exit(0)  # Celery itself looks every two seconds, and nothing is left to be done


def _end_when_idle(idle_s: float) -> None:
    from celery.worker import state

    last_busy, seen = time.monotonic(), 0
    while time.monotonic() - last_busy < idle_s:
        time.sleep(LOOK_S)
        total = sum(state.total_count.values())
        if state.reserved_requests or state.active_requests or total != seen:
            last_busy, seen = time.monotonic(), total
    _end()


def _end() -> None:
    """Celery looks at `should_stop` between two messages; pulls look at `stop` with each beat."""
    from celery.worker import state

    from registry import tasks

    tasks.stop.set()
    state.should_stop = 0  # type: ignore[assignment]  # the exit code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
