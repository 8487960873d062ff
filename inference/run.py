"""One generation inside a worker, as the server sees it: token ids that came, and how it ended.

The worker never waits for the reader: ids pile up here as four bytes each (bounded by max_new_tokens) until the
consumer's transport can take them. The slot of the device is free at the worker's finish, not at the reader's.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from typing import Literal

from inference.energy import Ticket
from inference.errors import InferenceError, WorkerDied
from inference.token_gaps import TokenGaps
from inference.worker.messages import unpack_ids

RunFinish = Literal["", "stop", "length", "cancelled", "ignored"]


class Run:
    """Filled by the worker's channel, drained by one consumer; both on the event loop."""

    def __init__(self, id: int, cancel: Callable[[int], None]) -> None:
        self.id = id
        self.finish: RunFinish = ""
        self.error: InferenceError | None = None
        self.submitted_at = time.perf_counter()
        self.first_token_at: float | None = None
        self.ended_at: float | None = None
        self.progress_at = self.submitted_at
        """Last prefill step (before the first token) or token (after it)."""
        self.gaps = TokenGaps()
        self._logprobs: array[float] = array("f")
        self.prompt_tokens = 0
        """As the pipeline counted them, where it does; known at the end."""
        self.tokens = 0
        """That were made, those that end an answer included."""
        self.energy: Ticket | None = None
        self._ids: array[int] = array("i")
        self._waiter: asyncio.Future[None] | None = None
        self._cancel = cancel
        self._callbacks: list[Callable[[], None]] = []

    @property
    def ended(self) -> bool:
        return self.ended_at is not None

    def on_end(self, callback: Callable[[], None]) -> None:
        """Called once, when the worker is done with the request in whatever way."""
        if self.ended:
            callback()
        else:
            self._callbacks.append(callback)

    def push(self, ids: bytes, finish: RunFinish) -> None:
        now = time.perf_counter()
        if ids:
            new = unpack_ids(ids)
            self._ids.extend(new)
            self.tokens += len(new)
            if self.first_token_at is None:
                self.first_token_at = now
            else:
                self.gaps.add(now - self.progress_at, len(new))
            self.progress_at = now
        if finish:
            self.finish = finish
            self._end(now)
        self._wake()

    def fail(self, error: InferenceError) -> None:
        """Ends the run with an error, raised by `wait` once the tokens that came before are taken."""
        if not self.ended:
            if isinstance(error, WorkerDied) and self.progress_at == self.submitted_at:
                error = WorkerDied(str(error))
                error.untouched = True
            self.error = error
            self._end(time.perf_counter())
            self._wake()

    def cancel(self) -> None:
        """Asks the worker to drop the request; the run ends when it has."""
        if not self.ended:
            self._cancel(self.id)

    async def wait(self) -> None:
        """Until there are ids to take or the run has ended. Raises its error when nothing is left to take."""
        if not self._ids and not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._ids and self.error is not None:
            raise self.error

    def take(self) -> array[int]:
        """All ids since the last call."""
        ids, self._ids = self._ids, array("i")
        return ids

    def push_logprobs(self, values: bytes) -> None:
        """Of the ids that come next, when the request asked for them: float32."""
        self._logprobs.frombytes(values)

    def take_logprobs(self) -> array[float]:
        """Of the ids that `take` gives at the same time."""
        logprobs, self._logprobs = self._logprobs, array("f")
        return logprobs

    def _end(self, now: float) -> None:
        self.ended_at = now
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
