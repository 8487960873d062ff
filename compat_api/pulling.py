"""The driver of /api/pull: asks for the pull, then follows its row until it ends. The pull does not need its client.

A client that joins, leaves or comes back changes nothing: what it reads is the row. A failure after the first frame is
a frame, as in every stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, Final, TypeVar

import orjson
from django.db import DatabaseError, connection

from compat_api import errors, key_bounds
from compat_api.consumer import InferenceConsumer
from compat_api.dialect import JSON, NDJSON, ndjson
from compat_api.errors import Failure
from compat_api.ollama import pull as ollama
from inference.errors import ShuttingDown
from registry import pull_state, pulls, store
from registry.models import Download
from registry.names import UnknownModel
from registry.pull_state import PullState

T = TypeVar("T")

HUB_AUTHORIZATION: Final = "X-Hub-Authorization"

LOOK_S: Final = 0.06
"""Between two looks at the row, which its worker writes eight times a second."""

STILL_S: Final = 5.0
"""Without news, as while a model is converted, the last word is said again: clients give up on silence."""

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pulls")
_closing = False


def close() -> None:
    """The server stops: who follows a pull is told so, and the pull goes on with the next start."""
    global _closing
    _closing = True
    _thread.submit(connection.close)


class PullConsumer(InferenceConsumer):
    """POST /api/pull, streamed or not."""

    async def handle(self, body: bytes) -> None:
        wish = ollama.parse(body)
        self.log.model = wish.model
        key_bounds.check_names(self.key, wish.model)
        token = wish.token or self._token_of_header()
        try:
            state = pull_state.of(await in_thread(lambda: pulls.request(wish.model, token=token)))
        except UnknownModel:  # told where the hub would tell it: in the stream
            state = None
        if wish.stream:
            await self.begin(NDJSON, [])
            await self.write(ndjson(orjson.dumps(ollama.MANIFEST)))
        if state is None:
            raise ollama.PullFailed(ollama.NOT_FOUND)
        await self._follow(state, wish.stream)

    async def _follow(self, state: PullState, stream: bool) -> None:
        last: list[dict[str, Any]] = []
        async with aclosing(follow(state)) as looks:
            async for last in looks:
                if stream and last[-1] != ollama.SUCCESS:
                    await self.write(b"".join(ndjson(orjson.dumps(frame)) for frame in last))
        await self._end(stream, last)

    async def _end(self, stream: bool, last: list[dict[str, Any]]) -> None:
        self.log.close(200)
        if stream:
            await self.finish(b"".join(ndjson(orjson.dumps(frame)) for frame in last))
        else:
            await self.reply(JSON, orjson.dumps(last[-1]), [])

    def _token_of_header(self) -> str:
        """`X-Hub-Authorization: Bearer hf_…`: Authorization itself is the key of this server."""
        given: dict[bytes, bytes] = dict(self.scope["headers"])
        scheme, _, token = given.get(HUB_AUTHORIZATION.lower().encode(), b"").decode("latin-1").partition(" ")
        return ollama.checked_token(HUB_AUTHORIZATION, token) if scheme.lower() == "bearer" else ""

    def stream_error(self, failure: Failure) -> bytes:
        return ndjson(errors.envelope("ollama", failure.status, failure.message))


async def follow(state: PullState) -> AsyncGenerator[list[dict[str, Any]], None]:
    """The frames of each look at the pull, until the one that ends with SUCCESS; never an empty list.

    Raises PullFailed and ShuttingDown.
    """
    frames = ollama.Frames()
    told = time.monotonic()
    while True:
        new = frames.of(state)
        if not new and time.monotonic() - told > STILL_S:
            new = [frames.still(state)]
        if new:
            told = time.monotonic()
        if not state.is_active:
            await store.refresh()  # who reads `success` finds the model in the next list
        if new:
            yield new
        if not state.is_active:
            return
        state = await _next(state)


async def _next(state: PullState) -> PullState:
    await asyncio.sleep(LOOK_S)
    if _closing:
        raise ShuttingDown
    assert state.id is not None
    try:
        return await in_thread(lambda: pull_state.read(state.id or 0))
    except Download.DoesNotExist:
        raise ollama.PullFailed(f"the pull of {state.name} was removed") from None


async def in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_thread, _with_connection, work)


def _with_connection(work: Callable[[], T]) -> T:
    """On this thread's connection, which stays open; one that has died is replaced."""
    try:
        return work()
    except DatabaseError:
        connection.close()
        return work()
