"""The base of every consumer that runs inference: body, task, disconnect, backpressure, one log line.

The server below says when the client leaves (`npuproxy.when_left` in the scope), and that cancels the work at once.
Channels' stock AsyncHttpConsumer does not do so (it awaits its handler first); to listen for http.disconnect in a task
beside the work would cost each request two more tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
from channels.consumer import AsyncConsumer
from msgspec import Struct, structs

from compat_api import encoded_body, errors, found, headers, key_bounds
from compat_api.dialect import SSE, unbroken
from compat_api.request_log import RequestLog
from compat_api.urls import Operation
from inference import engine
from inference.errors import RequestCancelled, ShuttingDown
from inference.types import ChatRequest, EmbedRequest, LoadRequest, ModelSpec, Source
from registry.key import Key

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Request = TypeVar("Request", ChatRequest, EmbedRequest, LoadRequest)
Sent = TypeVar("Sent", ChatRequest, EmbedRequest)
Parsed = TypeVar("Parsed")
_OF_THE_API = (b"anthropic-beta", b"openai-beta")
"""Headers that belong to what a body may say."""
INLINE_BYTES = 128 * 1024
"""Parsed on the loop: about a millisecond."""


class InferenceConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One request. Subclasses implement `handle` and answer by `reply`, or by `begin`, `write`, `finish`."""

    operation: Operation
    request_id: str
    key: Key | None
    """Whose bounds hold, if any; the gate has judged it."""
    log: RequestLog
    push: Callable[[bytes], bool] | None = None
    """A part of a stream straight to the connection; False: `writable` is to be waited for. None: only messages go."""

    async def handle(self, body: bytes) -> None:
        """The work; whatever it raises becomes the dialect's error."""
        raise NotImplementedError

    def stream_error(self, failure: errors.Failure) -> bytes:
        """The last bytes of a stream that broke; never asked for before `begin`."""
        raise NotImplementedError

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.base_send = send
        self.operation = scope["npuproxy.resolved"].operation
        self.request_id = scope["npuproxy.request_id"]
        self.key = scope.get("npuproxy.key")
        self.log = RequestLog(self.request_id, scope["method"], scope["path"], self.operation, self.key)
        self.push = scope.get("npuproxy.push")
        self._writable = scope.get("npuproxy.writable")
        self._started = False
        self._client_gone = self._cancelled = False
        body = await read_body(receive)
        if body is None:
            self.log.close(errors.CLIENT_GONE, "client gone")
            return
        work = asyncio.current_task()
        assert work is not None, "an application runs as a task"
        self.log.begin(partial(self._cancel, work))
        scope.get("npuproxy.when_left", _nobody_leaves)(partial(self._left, work))
        try:
            await self._work(body)
        finally:
            self.log.close(errors.CLIENT_GONE, "client gone")

    async def _work(self, body: bytes) -> None:
        try:
            if encoding := encoded_body.encoding_of(self.scope["headers"]):
                body = await asyncio.to_thread(encoded_body.plain, body, encoding)
            await self.handle(body)
        except asyncio.CancelledError:
            if self._client_gone:
                self.log.close(errors.CLIENT_GONE, "client gone")
            else:  # or the server stops and has waited for long enough
                await self._fail(RequestCancelled() if self._cancelled else ShuttingDown())
            raise
        except Exception as error:
            if not self.log.model:
                self.log.model = await off_loop(named_model, body)
            await self._fail(error)

    def _left(self, work: asyncio.Task[Any]) -> None:
        self._client_gone = True
        work.cancel()

    def _cancel(self, work: asyncio.Task[Any]) -> None:
        """On the operator's wish; a second one would cut off what tells of the first."""
        if not self._cancelled:
            self._cancelled = True
            work.cancel()

    async def _fail(self, error: Exception) -> None:
        failure = errors.of(error, self.operation)
        if not errors.is_expected(error):
            logger.exception("request %s failed", self.request_id)
        self.log.close(failure.status, failure.logged)
        if self._started:
            await self.finish(self.stream_error(failure))
            return
        dialect = self.operation.dialect
        status, fields, body = errors.render(
            dialect, failure.status, failure.message, code=failure.code, request_id=self.request_id
        )
        fields += [(name.lower().encode(), value.encode()) for name, value in failure.headers.items()]
        await self._send_start(status, fields)
        await self._send_last(body)

    def placed(self, request: Request) -> Request:
        """The request with its id and with what the X- headers wish; a header wins over options.device."""
        usual = key_bounds.default_priority(self.key)
        wished = headers.placement(self.scope["headers"], request.placement.device, usual)
        engine.current().remotes.check_loop(wished)
        placement = key_bounds.within(self.key, wished)
        self.log.priority = placement.priority
        return structs.replace(request, placement=placement, request_id=self.request_id)

    def sourced(self, request: Sent, body: bytes) -> Sent:
        """With what its client sent, where another server may answer it."""
        if not engine.current().remotes.backends:
            return request
        told = tuple(
            (name.decode(), value.decode("latin-1"))
            for name, value in self.scope["headers"]
            if name in _OF_THE_API
        )
        known = request.source or Source(operation=self.operation.name, body=body)
        metered = self.key is not None and self.key.tokens_per_minute > 0
        return structs.replace(request, source=structs.replace(known, headers=told, metered=metered))

    async def find(self, model: str) -> ModelSpec:
        self.log.model = model
        spec = await found.find(model)
        self.log.found = spec.name
        key_bounds.check_model(self.key, model, spec)
        return spec

    async def reply(self, content_type: bytes, body: bytes, facts: errors.Headers) -> None:
        """A whole answer of status 200, with the headers that say where it ran. The client has it before the log."""
        length = str(len(body)).encode()
        await self._send_start(200, [(b"content-type", content_type), (b"content-length", length), *facts])
        await self._send_last(body)
        self.log.close(200)

    async def begin(self, content_type: bytes, facts: errors.Headers) -> None:
        """Status 200 and the headers of a stream."""
        kept_back = [(b"cache-control", b"no-cache")] if content_type.startswith(SSE) else []
        await self._send_start(200, [(b"content-type", content_type), *kept_back, *facts])

    async def write(self, data: bytes) -> None:
        """A part of a stream, and one send; returns when the transport can take more, so a slow reader holds back only
        itself."""
        if self.push is not None:
            if not self.push(unbroken(data)):
                await self.writable()
            return
        await self.base_send({"type": "http.response.body", "body": unbroken(data), "more_body": True})
        if self._writable is not None:
            await self._writable()

    async def writable(self) -> None:
        """Returns when the client has read, or has gone: whoever works for it is cancelled then."""
        await asyncio.sleep(0)
        if self._writable is not None:
            await self._writable()

    async def finish(self, data: bytes = b"") -> None:
        """The end of a stream, and the last send."""
        await self._send_last(unbroken(data))

    async def _send_last(self, data: bytes) -> None:
        await self.base_send({"type": "http.response.body", "body": data, "more_body": False})

    async def _send_start(self, status: int, fields: errors.Headers) -> None:
        self._started = True
        await self.base_send({"type": "http.response.start", "status": status, "headers": fields})


async def read_body(receive: Receive) -> bytes | None:
    """The whole body, or None when the client left before its end. The server below bounds its size."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class _Named(Struct):
    model: Any = None


_named = msgspec.json.Decoder(_Named)


def named_model(body: bytes) -> str:
    """Of a body that could not be parsed as a request; '' where it names none."""
    try:
        model = _named.decode(body).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return model if isinstance(model, str) else ""


async def off_loop(parse: Callable[[bytes], Parsed], body: bytes) -> Parsed:
    """A long body is parsed in a thread, so that nobody else waits for it; a short one at once."""
    return parse(body) if len(body) <= INLINE_BYTES else await asyncio.to_thread(parse, body)


def _nobody_leaves(left: Callable[[], None]) -> None:
    """Where no server is below: in measurements."""
