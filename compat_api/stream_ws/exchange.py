"""One request on a WebSocket, from its message to the last of its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

from msgspec import structs

from compat_api import errors, found, key_bounds
from compat_api.consumer import off_loop
from compat_api.generation import require_completion
from compat_api.request_log import RequestLog
from compat_api.stream_ws import requests, responses
from inference import engine
from inference.errors import RequestCancelled, ShuttingDown, WorkerDied
from inference.events import Finish, Start
from inference.types import ChatRequest, ModelSpec, Placement
from registry.key import Key

logger = logging.getLogger(__name__)

Say = Callable[[bytes], Awaitable[None]]


class Exchange:
    """`ending` says why its task is cancelled: by the client, who may have gone, or by the server that stops."""

    def __init__(self, request_id: str, key: Key | None, log: RequestLog, say: Say) -> None:
        self.ending = "stop"
        self._id = request_id
        self._key = key
        self._log = log
        self._say = say
        self._encoder: responses.Encoder | None = None

    async def run(self, body: bytes, wished: Placement, engine_id: str) -> None:
        """Ends with exactly one message that is `done`, unless the client has gone."""
        task = asyncio.current_task()
        assert task is not None, "a request runs in a task of its own"
        self._log.begin(partial(self._cancel, task))
        try:
            await self._answer(body, wished, engine_id)
        except asyncio.CancelledError:
            await self._end()
            raise
        except Exception as error:
            await self.fail(error)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        """On the operator's wish."""
        if self.ending == "stop":
            self.ending = "operator"
            task.cancel()

    async def fail(self, error: Exception) -> None:
        failure = errors.of(error)
        if not errors.is_expected(error):
            logger.exception("a request on a WebSocket failed")
        await self.refuse(failure)

    async def refuse(self, failure: errors.Failure) -> None:
        self._log.close(failure.status, failure.logged)
        encoder = self._encoder
        told = (
            encoder.failed(failure, self._log.elapsed_s()) if encoder else responses.error(self._id, failure)
        )
        await self._say(told)

    async def _answer(self, body: bytes, wished: Placement, engine_id: str) -> None:
        request, wish = await off_loop(requests.parse, body)
        self._log.model = request.model
        spec = await found.find(request.model)
        self._log.found = spec.name
        key_bounds.check_model(self._key, request.model, spec)
        require_completion(spec, request.model, "chat")
        placement = key_bounds.within(self._key, structs.replace(wished, **wish.over(wished)))
        self._log.priority = placement.priority
        request = structs.replace(request, placement=placement, request_id=engine_id)
        finish = await self._generate(spec, request)
        self._log.finished(finish)
        self._log.close(200)
        assert self._encoder is not None, "an answer begins before it ends"
        await self._say(self._encoder.last(finish, self._log.elapsed_s()))

    async def _generate(self, spec: ModelSpec, request: ChatRequest) -> Finish:
        """Says every token. When it returns, the engine has let go of the request."""
        async with aclosing(engine.current().generate(spec, request)) as batches:
            start: Start | None = None
            async for batch in batches:
                if batch and isinstance(batch[0], Start):
                    start = batch[0]
                    self._log.routed(start)
                    continue
                if self._encoder is None:
                    assert start is not None, "the engine's first event is Start"
                    self._log.started(start)
                    ttft_s = self._log.elapsed_s()
                    self._encoder = responses.Encoder(self._id, not request.stream, start, ttft_s)
                for event in batch:
                    if isinstance(event, Finish):
                        return event
                    if data := self._encoder.event(event):
                        await self._say(data)
        raise WorkerDied("the answer ended before it was complete")

    async def _end(self) -> None:
        if self.ending == "stop":  # the server stops and has waited for long enough
            await self.fail(ShuttingDown())
            return
        if self.ending == "operator":
            await self.fail(RequestCancelled())
            return
        self._log.close(errors.CLIENT_GONE, self.ending)
        if self.ending == "cancelled":
            encoder = self._encoder
            last = encoder.cancelled(self._log.elapsed_s()) if encoder else responses.cancelled(self._id)
            await self._say(last)
