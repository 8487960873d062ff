"""What another server sends goes on in the very moment in which it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp

from inference.backends import upstream
from inference.errors import RemoteFailed
from inference.events import Event, Finish
from inference.relay import Take
from inference.remote import RemoteSpec


class StreamRelay:
    """Of one answer, behind its first token."""

    def __init__(
        self, spec: RemoteSpec, response: aiohttp.ClientResponse, read: Callable[[bytes], list[Event]]
    ) -> None:
        """`read`: bytes into events, b'' at the end of the body; raises RemoteFailed."""
        self._spec = spec
        self._response = response
        self._content = response.content
        self._read = read
        self._take: Take
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[None] | None = None
        self._passing = False
        self._heard_at = 0.0
        self._left: list[Event] = []
        self._broken: RemoteFailed | None = None

    def left(self) -> list[Event]:
        """The last events; [] where they are yet to come. Raises RemoteFailed for an answer that broke."""
        if self._broken is not None:
            raise self._broken
        return self._left

    async def into(self, take: Take, writable: Callable[[], Awaitable[None]]) -> None:
        self._take = take
        watch = self._loop.create_task(self._watch())
        try:
            while not self._is_over:
                connection = upstream.connection_of(self._response)
                if connection is None and not self._content.is_eof():
                    return  # one that cannot tell: all is left to the generator
                await self._until_stopped(connection)
                if not self._is_over:
                    await writable()
        finally:
            watch.cancel()

    async def _until_stopped(self, connection: upstream.Connection | None) -> None:
        """By the end or a fault of the answer, or by its reader. `connection` None: all of the body is here."""
        self._stopped = self._loop.create_future()
        self._heard_at = self._loop.time()
        if connection is not None:
            connection.on_data = self.arrived
        try:
            self.arrived()  # before anybody listened
            await self._stopped
        finally:
            if connection is not None and connection.on_data == self.arrived:
                connection.on_data = None

    def arrived(self) -> None:
        """The connection has bytes, an end or a fault. Reading may make it say so again."""
        stopped = self._stopped
        if self._passing or stopped is None or stopped.done():
            return
        self._heard_at = self._loop.time()
        self._passing = True
        try:
            if not self._pass_on():
                stopped.set_result(None)
        except RemoteFailed as error:
            self._broken = error
            stopped.set_result(None)
        except Exception as error:
            stopped.set_exception(error)
        finally:
            self._passing = False

    def _pass_on(self) -> bool:
        """All that is there; False where no more is to be read, for now or for ever."""
        while data := upstream.here(self._spec, self._content):
            events = self._read(data)
            if events and isinstance(events[-1], Finish):
                self._left = events
                return False
            if events and not self._take(events):
                return False
        if self._content.at_eof():
            self._left = self._read(b"")
            return False
        return True

    @property
    def _is_over(self) -> bool:
        return bool(self._left) or self._broken is not None

    async def _watch(self) -> None:
        """Over the longest silence; one timer for the answer, none for a read."""
        within_s = self._spec.between_s
        silent_s = 0.0
        while silent_s < within_s:
            await asyncio.sleep(within_s - silent_s)
            waits = self._stopped is not None and not self._stopped.done()
            silent_s = self._loop.time() - self._heard_at if waits else 0.0
        if self._stopped is not None and not self._stopped.done():
            self._broken = upstream.silent(self._spec, within_s)
            self._stopped.set_result(None)
