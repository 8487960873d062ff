"""Who runs next on a device: a number of slots and one bounded waiting line.

    acquire()   takes a free slot at once, else waits in line; QueueFull when the line is at its bound
    release     by Slot.release(), as often as one likes; the next in line starts within the same loop turn
    leaving     a caller that is cancelled while waiting, or whose deadline passes, is out of the line at once

The order is that of `inference.waiting_line`: by priority, lifted by waiting; within a level first come, first served.
"""

from __future__ import annotations

import asyncio
import math
import time

from inference import metrics
from inference.errors import DeadlineExceeded, QueueFull, QueueTimeout
from inference.waiting_line import Line

_MEAN_WEIGHT = 0.2
"""Weight of the newest service time in the running mean that Retry-After is made from."""


class Slot:
    """The right to run one request on the device."""

    def __init__(self, queue: DeviceQueue, waited_s: float) -> None:
        self._queue: DeviceQueue | None = queue
        self.waited_s = waited_s
        self._taken_at = time.monotonic()

    def release(self) -> None:
        if self._queue is not None:
            queue, self._queue = self._queue, None
            queue._released(time.monotonic() - self._taken_at)


class _Ticket:
    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.since = time.monotonic()
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class DeviceQueue:
    """Slots and line of one device, whatever number of models it holds. Event loop only."""

    def __init__(self, slots: int, max_waiting: int) -> None:
        self.slots = slots
        self.max_waiting = max_waiting
        self.running = 0
        self.loading = 0
        """Requests that wait for their model; they count against the line's bound."""
        self._line: Line[_Ticket] = Line()
        self._service_s = 1.0

    @property
    def waiting(self) -> int:
        return len(self._line) + self.loading

    def expected_wait_s(self) -> float:
        """0 while a slot is free; else the time that those in line before a newcomer need."""
        if self.running < self.slots:
            return 0.0
        return self._service_s * (len(self._line) + 1) / self.slots

    def check_room(self) -> None:
        """Raises QueueFull when a newcomer could neither run nor wait."""
        if self.waiting >= self.max_waiting and self.running + self.loading >= self.slots:
            raise QueueFull(max(1.0, math.ceil(self.expected_wait_s())))

    async def acquire(
        self, priority: int = 1, timeout_s: float = 0.0, deadline_s: float | None = None
    ) -> Slot:
        """A slot. `timeout_s` 0: no bound; `deadline_s`: seconds left until X-Deadline-Ms."""
        began = time.monotonic()
        if deadline_s is not None and deadline_s <= 0:
            raise DeadlineExceeded("X-Deadline-Ms passed before the request could start")
        if self.running < self.slots and not self._line:
            self.running += 1
            return self._slot(0.0)
        self.check_room()
        ticket = _Ticket(priority)
        self._line.add(ticket)
        bounds = [bound for bound in (timeout_s or None, deadline_s) if bound is not None]
        try:
            await asyncio.wait_for(ticket.granted, min(bounds, default=None))
        except TimeoutError:
            self._leave(ticket)
            if deadline_s is not None and time.monotonic() - began >= deadline_s:
                raise DeadlineExceeded("X-Deadline-Ms passed before the request could start") from None
            raise QueueTimeout(
                f"no slot became free within {timeout_s:g} s", max(1.0, math.ceil(self.expected_wait_s()))
            ) from None
        except asyncio.CancelledError:
            self._leave(ticket)
            raise
        return self._slot(time.monotonic() - began)

    def _slot(self, waited_s: float) -> Slot:
        metrics.QUEUE_TIME.observe(waited_s)
        return Slot(self, waited_s)

    def _leave(self, ticket: _Ticket) -> None:
        if ticket.granted.done() and not ticket.granted.cancelled():
            self._pass_on()  # granted in the same turn in which the caller left
        else:
            self._line.remove(ticket)

    def _released(self, service_s: float) -> None:
        self._service_s += _MEAN_WEIGHT * (service_s - self._service_s)
        self._pass_on()

    def _pass_on(self) -> None:
        self.running -= 1
        while self._line and self.running < self.slots:
            ticket = self._line.take(time.monotonic())
            if not ticket.granted.done():
                self.running += 1
                ticket.granted.set_result(None)
