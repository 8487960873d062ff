"""The drivers of /api/create and /api/push.

A model is made in a thread: a few at a time, a bounded line before them, and a deadline. Nothing is answered before
the recipe was found to be right, so what is wrong with it has its own status; later faults are a line of the stream.
A client that leaves stops a conversion; a model that only shares the files of another is made all the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any, Final

import orjson
from django.db import connections
from msgspec import Struct

from compat_api import errors, key_bounds, pulling
from compat_api.consumer import InferenceConsumer, off_loop
from compat_api.dialect import JSON, NDJSON, ndjson
from compat_api.errors import Failure
from compat_api.ollama import create as ollama
from compat_api.ollama.pull import MANIFEST, SUCCESS
from inference.errors import BadRequest, InferenceTimeout, ModelNotFound, QueueFull
from registry import convert, creation, pull_state, pulls, store
from registry.creation import Recipe
from registry.names import CloudRefused


class Line(Struct):
    """Threads that make models, and who waits for one."""

    threads: ThreadPoolExecutor
    deadline_s: float
    most: int
    """Running and waiting."""
    now: int = 0


_FROM_MODELS: Final = Line(ThreadPoolExecutor(2, thread_name_prefix="create"), deadline_s=120.0, most=32)
_FROM_FILES: Final = Line(
    ThreadPoolExecutor(1, thread_name_prefix="create-files"), deadline_s=convert.DEADLINE_S + 600.0, most=4
)
"""Apart, so that nobody who adds a SYSTEM waits for somebody's conversion."""


class StatusConsumer(InferenceConsumer):
    """Lines of `{"status": …}`, or the last of them alone."""

    stream = True

    async def say(self, *frames: dict[str, Any]) -> None:
        if not self.stream or not frames:
            return
        if not self._started:
            await self.begin(NDJSON, [])
        await self.write(b"".join(ndjson(orjson.dumps(frame)) for frame in frames))

    async def end(self, frame: dict[str, Any]) -> None:
        self.log.close(200)
        if self.stream:
            await self.finish(ndjson(orjson.dumps(frame)))
        else:
            await self.reply(JSON, orjson.dumps(frame), [])

    def stream_error(self, failure: Failure) -> bytes:
        return ndjson(errors.envelope("ollama", failure.status, failure.message))


class CreateConsumer(StatusConsumer):
    """POST /api/create."""

    async def handle(self, body: bytes) -> None:
        wish = await off_loop(ollama.parse_create, body)
        self.stream, self.log.model = wish.stream, wish.recipe.name
        key_bounds.check_names(self.key, wish.recipe.name, wish.recipe.source)
        await self._fetch_source(wish.recipe)
        last = ""
        async with aclosing(statuses(wish.recipe)) as said:
            async for status in said:
                if last:
                    await self.say({"status": last})
                last = status
        await self.end({"status": last})

    async def _fetch_source(self, recipe: Recipe) -> None:
        """A model to start from that is not here is pulled, as Ollama does it. Raises UnknownModel where there is
        nothing to pull."""
        if recipe.files or not recipe.source:
            return
        try:
            await store.find(recipe.source)
        except CloudRefused:
            raise
        except ModelNotFound:
            creation.check(recipe)
            state = pull_state.of(await pulling.in_thread(lambda: pulls.request(recipe.source)))
            await self.say(MANIFEST)
            async with aclosing(pulling.follow(state)) as looks:
                async for frames in looks:
                    await self.say(*(frame for frame in frames if frame != SUCCESS))


class PushConsumer(StatusConsumer):
    """POST /api/push: a refusal, in the shape of a push that failed."""

    async def handle(self, body: bytes) -> None:
        wish = ollama.parse_push(body)
        self.stream = wish.stream
        await self.find(wish.name)
        await self.say(ollama.RETRIEVING)
        raise BadRequest(
            f"models are not pushed from this server: '{wish.name}' stays on this machine; to publish it, upload its "
            'folder to a hub of your own ("manage.py models show" tells where it is)',
            "model",
        )


async def statuses(recipe: Recipe, line: Line | None = None) -> AsyncGenerator[str, None]:
    """What `creation.create` says, while it works in a thread. To close this asks it to end.

    Raises what `create` raises, QueueFull, and InferenceTimeout at the deadline.
    """
    line = line or (_FROM_FILES if recipe.files else _FROM_MODELS)
    if line.now >= line.most:
        raise QueueFull(10.0)
    loop, stop = asyncio.get_running_loop(), threading.Event()
    said: asyncio.Queue[str | None] = asyncio.Queue()

    def say(status: str) -> None:
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(said.put_nowait, status)

    def done(work: asyncio.Future[None]) -> None:
        line.now -= 1
        said.put_nowait(None)
        if not work.cancelled():
            work.exception()  # nobody may be left to look at it

    line.now += 1
    work = loop.run_in_executor(line.threads, _create, recipe, say, stop.is_set)
    work.add_done_callback(done)
    ends = time.monotonic() + line.deadline_s
    try:
        while (status := await asyncio.wait_for(said.get(), max(0.0, ends - time.monotonic()))) is not None:
            yield status
        await work
    except TimeoutError:
        raise InferenceTimeout(f"'{recipe.name}' was not made within {line.deadline_s:g} s") from None
    finally:
        stop.set()
        work.cancel()  # where it has not begun


def _create(recipe: Recipe, say: Callable[[str], object], cancelled: Callable[[], bool]) -> None:
    try:
        creation.create(recipe, say, cancelled)
    finally:
        connections.close_all()
