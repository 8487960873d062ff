"""Runs chat templates in threads of their own and gives up on one that does not end in time.

Who waits is answered at the deadline, whatever the thread does. The thread gets an asynchronous exception, which ends
any loop of a template at its next step, and takes no other work; a new one stands in for it.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

GIVE_UP_SECONDS = 3.0
"""A render ends itself before (template_sandbox); what has not is inside one long operation."""

THREADS = 4
"""Renders at once. Each that runs on delays the event loop by up to 5 ms, the interpreter's switch interval."""


class RenderTimeout(Exception):
    """The work did not end in time."""


class _Abandoned(BaseException):
    """Raised inside of the thread; not an Exception, so that nothing on the way swallows it."""


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.future: Future[T] = Future()
        self.thread_id: int | None = None
        self.started = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.closed = False
        """Answered, or given up on: whoever sets it under the lock says how the future ends."""


class TemplateThreads:
    """At most THREADS threads, started when needed; those given up on are not counted."""

    def __init__(self, seconds: float = GIVE_UP_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job[object]] = SimpleQueue()
        self._threads = 0
        self._unfinished = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Raises RenderTimeout, or what `work` raises."""
        job = self._submit(work)
        loop = asyncio.get_running_loop()

        def expire() -> None:
            if (rest := self._expire(job)) > 0:
                job.timer = loop.call_later(rest, expire)

        job.timer = loop.call_later(self._seconds, expire)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            if (
                job.closed and job.timer is not None
            ):  # else the caller was cancelled, and the render is still to be ended in time
                job.timer.cancel()

    def run_blocking(self, work: Callable[[], T]) -> T:
        """The same for a caller that is itself in a thread."""
        job, rest = self._submit(work), self._seconds
        while True:
            try:
                return job.future.result(rest)
            except NotYet:
                rest = self._expire(job)

    def _submit(self, work: Callable[[], T]) -> _Job[T]:
        job = _Job(work)
        with self._lock:
            self._unfinished += 1
            self._start_thread()
        self._jobs.put(job)  # type: ignore[arg-type]
        return job

    def _start_thread(self) -> None:
        if self._unfinished > self._threads and self._threads < THREADS:
            self._threads += 1
            threading.Thread(target=self._serve, name="chat-template", daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                self._work(self._jobs.get())
        except _Abandoned:
            return

    def _work(self, job: _Job[object]) -> None:
        with self._lock:
            job.thread_id, job.started = threading.get_ident(), time.monotonic()
        cancelled = not job.future.set_running_or_notify_cancel()
        result, failure = None, None
        if not cancelled:
            try:
                result = job.work()
            except Exception as error:
                failure = error
        with self._lock:
            if job.closed:
                raise _Abandoned
            job.closed = True
            self._unfinished -= 1
        if failure is not None:
            job.future.set_exception(failure)
        elif not cancelled:
            job.future.set_result(result)

    def _expire(self, job: _Job[T]) -> float:
        """Gives up on a job that had its time; else the seconds that it still has. One that waits has them all."""
        with self._lock:
            if job.closed:
                return 0.0
            if job.thread_id is None:
                return self._seconds
            if (rest := job.started + self._seconds - time.monotonic()) > 0:
                return rest
            job.closed = True
            self._unfinished -= 1
            self._threads -= 1
            self._start_thread()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(job.thread_id), ctypes.py_object(_Abandoned)
            )
        job.future.set_exception(RenderTimeout(f"did not end within {self._seconds:g} s"))
        return 0.0
