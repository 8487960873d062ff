"""Jobs in the server: wakes the process that does them, and sees to those that nobody does.

1. A pull that is asked for in this process is heard of at once (`pulls.requested`); one that another process asked for,
   or whose message was lost, is found by a look at the rows each second.
2. The Celery worker is a child, started with the first job. It ends by itself when it was idle for long.
3. When it dies, its pulls wait again at once; those of a worker elsewhere do when their lease ends.
4. A stop closes its standard input; what it was pulling waits for the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, connection

from inference import job_object
from npuproxy import broker, env
from registry import pulls
from registry.database_thread import DatabaseThread

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
RESEND_S: Final = 3.0
"""First pause before a pull that still waits gets another message; doubled each time."""
LONGEST_PAUSE_S: Final = 600.0
STOP_S: Final = 5.0
"""As long as the worker may take to hand its pulls back."""


class Jobs:
    """`start`, then `stop`; both on the server's loop, whose thread outlives the child (a kernel that ends it with its
    parent means the thread that started it)."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = ""
        self._started_at = 0.0
        self._crashes = 0
        self._told: dict[int, tuple[float, float]] = {}
        """Pull -> when it gets its next message, and the pause after that."""
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread = DatabaseThread("jobs")

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        pulls.requested.connect(self._requested)
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Leave no process behind; pulls that ran wait for the next start."""
        pulls.requested.disconnect(self._requested)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._end_child)
        self._thread.close(wait=False)

    def _requested(self, **_: Any) -> None:
        """From whatever thread wrote the row."""
        self._loop.call_soon_threadsafe(self._woken.set)

    async def _watch(self) -> None:
        swept = failing = False
        while True:
            try:
                if not swept:
                    await self._thread.run(pulls.sweep)
                    swept = True
                await self._look()
                failing = False
            except Exception:  # whatever it was: pulls are looked for as long as the server runs
                if not failing:
                    logger.exception("pulls cannot be seen to; tried again each second")
                failing = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_S)
            self._woken.clear()

    async def _look(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            await self._bury()
        waiting = await self._thread.run(_waiting)
        self._told = {pull: told for pull, told in self._told.items() if pull in waiting}
        if not waiting:
            return
        if self._child is None and time.monotonic() >= self._started_at + self._pause_s():
            self._spawn()
        now = time.monotonic()
        for pull in waiting:
            at, pause = self._told.get(pull, (now, RESEND_S))
            if at <= now:
                self._told[pull] = (now + pause, min(2 * pause, LONGEST_PAUSE_S))
                await self._thread.run(_send)

    def _pause_s(self) -> float:
        """Before a child that keeps dying is started again."""
        return min(2.0**self._crashes, 60.0) if self._crashes else 0.0

    async def _bury(self) -> None:
        assert self._child is not None
        code, self._child = self._child.returncode, None
        if code == 0:
            self._crashes = 0
            logger.info("the process for jobs has ended: nothing to do")
        else:
            self._crashes += 1
            logger.error("the process for jobs died (%s)", code)
        self._told.clear()  # messages that it had taken died with it
        await self._thread.run(lambda: pulls.reap(self._owner))

    def _spawn(self) -> None:
        self._owner, self._started_at = pulls.owner_name(), time.monotonic()
        flags = {variable: value for variable, (_, value) in env.OVERRIDES.items()}
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "npuproxy.jobs_worker", self._owner, str(os.getpid())],
            stdin=subprocess.PIPE,
            env={**os.environ, **flags, "PYTHONPATH": str(settings.BASE_DIR), "CELERY_SKIP_CHECKS": "1"},
            cwd=settings.BASE_DIR,
        )
        if sys.platform == "win32":
            job_object.adopt(int(self._child._handle))  # type: ignore[attr-defined]
        logger.info("a process for jobs was started: %d", self._child.pid)

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        with suppress(DatabaseError):
            pulls.reap(self._owner)
        connection.close()


def _waiting() -> list[int]:
    """The pulls without an owner, once those whose owner is gone are among them. One query where nothing is active."""
    if not pulls.any_active():
        return []
    if pulls.reap():
        logger.info("pulls without an owner wait again")
    broker.sweep(settings.DATA_DIR / broker.FOLDER)
    return pulls.waiting()


def _send() -> None:
    """One message: there is work."""
    # here, so that a server without jobs never imports Celery
    from kombu.exceptions import KombuError

    import npuproxy.celery  # noqa: F401  # makes the application that the task belongs to
    from registry import tasks

    try:
        tasks.pull.apply_async()
    except (KombuError, OSError) as error:
        logger.warning("the broker cannot be reached, so pulls wait: %s", error)
