"""The server process: Daphne built in code, around one engine.

1. The sockets are bound and the data folder is locked before this module is imported; here they are adopted.
2. `run` returns when the server has stopped. A first signal stops listening, lets running answers end for
   DRAIN_S, ends the workers and then the reactor; a second one ends the process at once (workers die with
   their parent).
3. Daphne's own shutdown cuts every stream in the phase in which a drain would still wait: it is not used
   here.

Import after `event_loop.install`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from daphne.server import Server as DaphneServer
from twisted.internet import reactor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)
from twisted.protocols.tls import TLSMemoryBIOFactory

from npuproxy.channel import Factory, Limits
from npuproxy.gate import Gate
from npuproxy.tls import Connections
from npuproxy.web_socket import SocketFactory, WebSocket

logger = logging.getLogger(__name__)

DRAIN_S = 10.0
APPLICATION_CLOSE_S = 10.0
"""An application that outlives its client for so long is cancelled."""

REQUEST_BUFFER_BYTES = 256 * 1024
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Lifecycle(Protocol):
    """What the server starts and stops with itself."""

    async def start(self, adopt: Callable[[socket.socket], None]) -> None:
        """Returns when requests may be answered. `adopt` takes a further listening socket."""

    async def drain(self, timeout_s: float) -> None:
        """Take no new work, wait for the running."""

    async def stop(self) -> None:
        """Leave nothing behind."""


class Server(DaphneServer):  # type: ignore[misc]  # daphne ships no types
    """HTTP on adopted sockets. `on_ready` is called once requests are answered."""

    def __init__(
        self,
        gate: Gate,
        limits: Limits,
        lifecycle: Lifecycle,
        on_ready: Callable[[], None],
        secured: Connections | None = None,
    ) -> None:
        """`secured`: every listening socket speaks TLS."""
        super().__init__(
            gate,
            endpoints=["adopted"],
            signal_handlers=False,
            server_name="",
            websocket_timeout=-1,  # no WebSocket is cut for its age
            ping_interval=limits.ping_s,
        )
        self.judge = gate.judge
        self.identity = gate.identity
        self.request_buffer_size = REQUEST_BUFFER_BYTES
        self._limits = limits
        self._lifecycle = lifecycle
        self._on_ready = on_ready
        self._secured = secured
        self._stopping: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    def run(self, sockets: list[socket.socket], loop: asyncio.AbstractEventLoop, plain_signals: bool) -> None:
        """Serve until a signal. Raises what the start raised."""
        self.connections: dict[Any, dict[str, Any]] = {}
        self._loop = loop
        self.http_factory = Factory(self, self._limits)
        self.ws_factory = SocketFactory(self, self._limits)
        observer = FilteringLogObserver(
            STDLibLogObserver("twisted"), [LogLevelFilterPredicate(LogLevel.warn)]
        )
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
        self._install_signals(plain_signals)
        self._starting = loop.create_task(self._start(sockets))
        reactor.run(installSignalHandlers=False)
        if self._failure is not None:
            raise self._failure

    async def _start(self, sockets: list[socket.socket]) -> None:
        try:
            await self._lifecycle.start(self.adopt)
            for listener in sockets:
                self.adopt(listener)
            reactor.callLater(1, self._every_second)
            gc.freeze()  # what was imported stays: a full collection, 30 ms for everyone, skips it
            self._on_ready()
        except Exception as error:
            self._failure = error
            await self._stop()

    def adopt(self, listener: socket.socket) -> None:
        """Serve on a bound socket from now on."""
        factory = self.http_factory
        if self._secured is not None:
            factory = TLSMemoryBIOFactory(self._secured, False, factory)
        self.listeners.append(reactor.adoptStreamPort(listener.fileno(), listener.family, factory))
        listener.close()

    # --- Stopping -------------------------------------------------------------------------------------------

    def _install_signals(self, plain: bool) -> None:
        """`plain`: by the signal module, which is all that Windows has."""
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is None:
                continue
            if plain:
                signal.signal(number, lambda *_: self._loop.call_soon_threadsafe(self.request_stop))
            else:
                self._loop.add_signal_handler(number, self.request_stop)

    def request_stop(self) -> None:
        """Begin to stop; asked a second time, end at once."""
        if self._stopping is not None:
            logger.warning("stopped at once; running answers were cut")
            os._exit(130)
        self._stopping = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        deadline = time.monotonic() + DRAIN_S
        try:
            if asyncio.current_task() is not self._starting:
                self._starting.cancel()
            self._close_doors()
            await self._lifecycle.drain(DRAIN_S)
            while self._has_work() and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            await self._cancel_applications()
        finally:
            try:
                await self._lifecycle.stop()
            finally:
                for channel in tuple(self.http_factory.channels):
                    channel.transport.abortConnection()
                reactor.stop()

    def _close_doors(self) -> None:
        self.http_factory.stopping = True
        for listener in self.listeners:
            listener.stopListening()
        for channel in tuple(self.http_factory.channels):
            channel.close_when_idle()
        for protocol in tuple(self.connections):
            if isinstance(protocol, WebSocket):
                protocol.close_when_idle()

    def _has_work(self) -> bool:
        """A connection closes when its answer is out, so one that is open still has bytes to deliver."""
        return bool(self._running_applications() or self.http_factory.channels)

    def _running_applications(self) -> list[asyncio.Future[None]]:
        tasks = [details.get("application_instance") for details in self.connections.values()]
        return [task for task in tasks if task is not None and not task.done()]

    async def _cancel_applications(self) -> None:
        tasks = self._running_applications()
        for task in tasks:
            task.cancel()
        if tasks:
            logger.warning("%d answers were cut at the end of %g s", len(tasks), DRAIN_S)
            await asyncio.wait(tasks, timeout=1)

    def kill_all_applications(self) -> None:
        """Nothing: `_stop` has ended them, after the drain."""

    # --- Requests -------------------------------------------------------------------------------------------

    def create_application(
        self, protocol: Any, scope: dict[str, Any]
    ) -> asyncio.Queue[dict[str, Any]] | None:
        """Run the gate for one request. Returns the queue of what arrives for it."""
        details = self.connections.get(protocol)
        if details is None:
            return None
        scope["root_path"] = ""  # any client may send Daphne-Root-Path; Daphne believes it
        scope["asgi"] = {"version": "3.0"}
        if scope["type"] == "http":
            scope["npuproxy.when_left"] = protocol.when_left
            scope["npuproxy.upload"] = protocol.received
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        receive = queue.get
        if scope["type"] == "websocket":
            scope["extensions"] = {"websocket.http.response": {}}
            scope["subprotocols"] = protocol.websocket_protocols
            scope["npuproxy.is_open"] = lambda: protocol.flow.is_open
            receive = protocol.receive
        scope["npuproxy.push"] = protocol.push
        scope["npuproxy.writable"] = protocol.flow.writable
        application: Awaitable[None] = self.application(scope, receive, partial(self.handle_reply, protocol))
        task = asyncio.ensure_future(application, loop=self._loop)
        details["application_instance"] = task
        task.add_done_callback(partial(self._application_done, protocol))
        return queue

    def _application_done(self, protocol: Any, task: asyncio.Future[None]) -> None:
        details = self.connections.get(protocol)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the application failed", exc_info=error)
        if details is None:
            return
        if "disconnected" in details:
            del self.connections[protocol]
        elif error is not None or not getattr(protocol, "_response_started", True):
            protocol.handle_exception(error)
        elif task.cancelled():
            protocol.abort()

    def protocol_disconnected(self, protocol: Any) -> None:
        details = self.connections.get(protocol)
        if details is None:
            return
        details.setdefault("disconnected", time.time())
        task = details.get("application_instance")
        if task is None or task.done():
            del self.connections[protocol]

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """What an application sends. Waits while the client does not read, so no application can fill the
        memory.
        """
        details = self.connections.get(protocol)
        if details is None or "disconnected" in details:
            await asyncio.sleep(
                0
            )  # an application that only ever sends must still notice that it was cancelled
            return
        if message["type"] in ("http.response.body", "websocket.send"):
            await protocol.flow.writable()
            if "disconnected" in details:
                return
        protocol.handle_reply(message)

    def _every_second(self) -> None:
        reactor.callLater(1, self._every_second)
        now, wall = time.monotonic(), time.time()
        for channel in tuple(self.http_factory.channels):
            with suppress(Exception):  # one broken connection must not end the watch over the others
                channel.check(now)
        for protocol, details in tuple(self.connections.items()):
            if wall - details.get("disconnected", wall) > APPLICATION_CLOSE_S:
                details["application_instance"].cancel()
            if isinstance(protocol, WebSocket):
                protocol.check(now)
