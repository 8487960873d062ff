"""The consumer of /v1/stream/ws: several requests at once on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from channels.consumer import AsyncConsumer

from compat_api import errors, headers, key_bounds
from compat_api.consumer import Message, Receive, Send, off_loop
from compat_api.request_log import RequestLog
from compat_api.stream_ws import requests, responses
from compat_api.stream_ws.exchange import Exchange
from compat_api.urls import Operation
from inference import metrics
from inference.errors import BadRequest
from inference.types import Placement

MOST_RUNNING = 16
"""Requests of one connection at once."""

_GOING_AWAY = 1001


class StreamConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One connection. Every request on it is judged for itself: keys end, and have limits."""

    exchange: type[Exchange] = Exchange
    _wished: Placement

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.base_send = send
        self._operation: Operation = scope["npuproxy.resolved"].operation
        self._running: dict[str, tuple[Exchange, asyncio.Task[None]]] = {}
        self._count = 0
        self._closing: asyncio.Task[None] | None = None
        await receive()  # websocket.connect
        try:
            usual = key_bounds.default_priority(scope.get("npuproxy.key"))
            self._wished = headers.placement(scope["headers"], default_priority=usual)
        except BadRequest as error:
            await self._refuse_handshake(errors.of(error))
            return
        await send({"type": "websocket.accept", "subprotocol": chosen(scope["subprotocols"])})
        metrics.SOCKETS.inc()
        try:
            await self._serve(receive)
        except asyncio.CancelledError:
            await self._end_all("stop")
            await self._close()
            raise
        finally:
            metrics.SOCKETS.dec()
            if self._closing is not None:
                self._closing.cancel()

    async def _serve(self, receive: Receive) -> None:
        """Until the client has gone."""
        while True:
            message = await receive()
            if message["type"] == "websocket.receive":
                text = message.get("text")
                await self._take(message["bytes"] if text is None else text.encode())
            elif message["type"] == "websocket.disconnect":
                await self._end_all("client gone")
                return
            elif self._closing is None:  # the server stops
                self._closing = asyncio.create_task(self._close_when_idle())

    async def _take(self, body: bytes) -> None:
        try:
            envelope = await off_loop(requests.envelope, body)
        except BadRequest as error:
            await self._say(responses.error(None, errors.of(error)))
            return
        if envelope.cancels:
            await self._cancel(envelope.request_id)
        else:
            await self._begin(envelope.request_id, body)

    async def _cancel(self, request_id: str) -> None:
        running = self._running.get(request_id)
        if running is None:
            failure = errors.Failure(404, f'"request_id": no request {request_id!r} is running', None, {})
            await self._say(responses.error(request_id, failure))
            return
        exchange, task = running
        if exchange.ending != "cancelled":  # a second one would cut off the message that tells of the first
            exchange.ending = "cancelled"
            task.cancel()

    async def _begin(self, request_id: str, body: bytes) -> None:
        self._count += 1
        request_id = request_id or f"request-{self._count}"
        if fault := self._fault_of(request_id):
            await self._say(responses.error(request_id, fault))
            return
        key = self.scope["npuproxy.rejudge"]()
        owner = None if isinstance(key, errors.Failure) else key
        engine_id = f"{self.scope['npuproxy.request_id']}.{self._count}"
        log = RequestLog(engine_id, "WS", self.scope["path"], self._operation, owner)
        exchange = self.exchange(request_id, owner, log, self._say)
        if isinstance(key, errors.Failure):
            await exchange.refuse(key)
            return
        task = asyncio.create_task(self._run(request_id, exchange, body, engine_id))
        self._running[request_id] = (exchange, task)
        await asyncio.sleep(0)  # it begins: a task that is cancelled before would never say so

    def _fault_of(self, request_id: str) -> errors.Failure | None:
        if request_id in self._running:
            words = f'"request_id": {request_id!r} is running on this connection; give another one'
            return errors.Failure(400, words, "duplicate_request_id", {})
        if len(self._running) >= MOST_RUNNING:
            words = f"{MOST_RUNNING} requests are running on this connection; wait for one, or open another"
            return errors.Failure(429, words, "too_many_requests", {})
        return None

    async def _run(self, request_id: str, exchange: Exchange, body: bytes, engine_id: str) -> None:
        try:
            await exchange.run(body, self._wished, engine_id)
        finally:
            del self._running[request_id]

    async def _end_all(self, why: str) -> None:
        tasks = []
        for exchange, task in self._running.values():
            exchange.ending = why
            task.cancel()
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close_when_idle(self) -> None:
        while self._running:
            await asyncio.wait([task for _, task in self._running.values()])
        await self._close()

    async def _close(self) -> None:
        message: dict[str, Any] = {"type": "websocket.close", "code": _GOING_AWAY}
        await self.base_send(message | {"reason": "the server is shutting down"})

    async def _say(self, data: bytes) -> None:
        """Returns when the transport can take more, so a slow reader holds back its own requests alone."""
        if not self.scope["npuproxy.push"](data):
            await asyncio.sleep(0)  # cancelled where the client has gone
            await self.scope["npuproxy.writable"]()

    async def _refuse_handshake(self, failure: errors.Failure) -> None:
        status, fields, body = errors.render("openai", failure.status, failure.message, code=failure.code)
        await self.base_send({"type": "websocket.http.response.start", "status": status, "headers": fields})
        await self.base_send({"type": "websocket.http.response.body", "body": body})


def chosen(offered: Sequence[str]) -> str | None:
    """A browser that offers subprotocols wants one of them back; one that carries a key if there is no other."""
    return next((name for name in offered if "." not in name), offered[0] if offered else None)
