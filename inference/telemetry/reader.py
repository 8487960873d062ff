"""Threads that read what may hang: a sysfs file of a card that wakes up can take seconds.

    batch = Batch(jobs)      jobs one after the other, each with a name
    reader.take(batch)       in a thread of its own
    batch.wait(1.0)          "" when all is done, or the name of the job that has not ended for so long

A batch that is given up ends with the job it hangs in, and the thread with it; a new reader does the rest.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

Job = tuple[str, Callable[[], None]]


class Batch:
    def __init__(self, jobs: tuple[Job, ...]) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._position = 0
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._given_up = False

    def run(self) -> bool:
        """In the reader's thread. False when the batch was given up meanwhile."""
        for index, (name, job) in enumerate(self._jobs):
            with self._lock:
                if self._given_up:
                    return False
                self._began, self._position = time.monotonic(), index
            try:
                job()
            except Exception:  # a library of a driver may raise anything; the next source is none the worse
                logger.exception("reading %s failed", name)
        with self._lock:
            self._ended.set()
            return not self._given_up

    def wait(self, most_s: float) -> str:
        while not self._ended.wait(most_s):
            with self._lock:
                if time.monotonic() - self._began >= most_s:
                    return self._jobs[self._position][0]
        return ""

    def give_up(self) -> tuple[Job, ...]:
        """The jobs behind the one that hangs."""
        with self._lock:
            self._given_up = True
            return self._jobs[self._position + 1 :]


class Reader:
    """One thread."""

    def __init__(self) -> None:
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="telemetry-reader", daemon=True).start()

    def take(self, batch: Batch) -> None:
        self._batches.put(batch)

    def end(self) -> None:
        self._batches.put(None)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            if not batch.run():
                return
