"""One HTTP request on its connection: its body counted or written to a file, its answer held back by its reader."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from daphne.http_protocol import WebRequest
from daphne.utils import HEADER_NAME_RE, INVALID_HEADER_VALUE_BYTES
from twisted.internet.interfaces import IPushProducer
from twisted.web import http
from zope.interface import implementer

from npuproxy.upload import Received, Upload, UploadFailed

if TYPE_CHECKING:
    from npuproxy.channel import Channel


_write = http.Request.write
"""Twisted looks each name of this module up anew, for names that are deprecated."""


@implementer(IPushProducer)
class Flow:
    """Whether the client takes what it is sent: one for each request."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._open = asyncio.Event()
        self._open.set()
        self._seen: tuple[int, int] = (0, 0)
        self._seen_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def writable(self) -> None:
        """Returns at once while the buffer is low, else when it has drained or the client is gone."""
        await self._open.wait()

    def pauseProducing(self) -> None:
        if self._open.is_set():
            self._open.clear()
            self._seen_at = time.monotonic()

    def resumeProducing(self) -> None:
        self._open.set()

    def stopProducing(self) -> None:
        self._open.set()

    def stalled_s(self, now: float) -> float:
        """Seconds since the client last took a byte; 0 while nothing waits for it."""
        if self._open.is_set():
            return 0.0
        position = (len(self._transport.dataBuffer), self._transport.offset)
        if position != self._seen:
            self._seen, self._seen_at = position, now
        return now - self._seen_at


class Request(WebRequest):  # type: ignore[misc]  # daphne ships no types
    """A request that counts its body and knows whether its client reads."""

    def __init__(self, channel: Channel, queued: object = False) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)
        self.flow = Flow(channel.transport)
        self.received_bytes = 0
        self.upload: Upload | None = None
        self.received: Received | None = None
        self._left: Callable[[], None] | None = None
        self._response_started: bool

    def when_left(self, left: Callable[[], None]) -> None:
        """Called once, should the connection end before the answer has."""
        if self.channel is None:
            left()
        else:
            self._left = left

    def gotLength(self, length: int | None) -> None:
        """Twisted would make a file in the system's folder for a long body; a body that is a file has its own."""
        if self.upload is None:
            super().gotLength(length)
        else:
            self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if self.upload is not None:
            self._feed(self.upload, data)
        elif self.received_bytes > self.channel.factory.limits.body_bytes:
            self.channel.refuse_body()
        elif not self.channel.refused:
            super().handleContentChunk(data)

    def _feed(self, upload: Upload, data: bytes) -> None:
        if self.channel.refused:
            upload.discard()
        elif upload.size_bytes + len(data) > upload.rules.most_bytes:
            upload.discard()
            self.channel.answer(*upload.rules.too_large())
        else:
            upload.feed(data)

    def process(self) -> Any:
        if self.upload is not None and self.received is None:
            self._storing = asyncio.ensure_future(self._store(self.upload))
            return None
        upgrade = self.requestHeaders.getRawHeaders(b"Upgrade")
        if upgrade and upgrade[0].lower() == b"websocket":
            # Its connection goes on under another protocol.
            self.channel.factory.channels.discard(self.channel)
            return super().process()
        self.registerProducer(self.flow, True)
        self._ask()
        return None

    def _ask(self) -> None:
        """What Daphne does of a request that is no WebSocket, without its generator and its Deferreds."""
        fault = self._fault()
        if fault:
            self.basic_error(400, b"Bad Request", fault)
            return
        self.client_addr = [str(self.client.host), self.client.port]
        self.server_addr = [str(self.host.host), self.host.port]
        path, _, self.query_string = self.uri.partition(b"?")
        self.application_queue = self.server.create_application(
            self,
            {
                "type": "http",
                "http_version": self.clientproto.rpartition(b"/")[2].decode("latin-1"),
                "method": self.method.decode("latin-1"),
                "path": unquote(path.decode("ascii")),
                "raw_path": path,
                "scheme": "http" if self.channel.plain else "https",
                "query_string": self.query_string,
                "headers": self.clean_headers,
                "client": self.client_addr,
                "server": self.server_addr,
            },
        )
        if self.application_queue is None or self.content.closed:
            return
        self.content.seek(0)
        more = True
        while more:
            chunk = self.content.read(self.server.request_buffer_size)
            more = len(chunk) == self.server.request_buffer_size
            self.application_queue.put_nowait({"type": "http.request", "body": chunk, "more_body": more})

    def _fault(self) -> str:
        """Of the head; '' for none. What is in order is in `clean_headers` then, without names that CGI would take for
        others (CVE-2015-0219)."""
        self.clean_headers: list[tuple[bytes, bytes]] = []
        for name, values in self.requestHeaders.getAllRawHeaders():
            if not HEADER_NAME_RE.fullmatch(name):
                return "Invalid header name"
            for value in values:
                if INVALID_HEADER_VALUE_BYTES.intersection(value):
                    return "Invalid header value"
                if b"_" not in name:
                    self.clean_headers.append((name.lower(), value))
        if not self.uri.isascii():
            return "Invalid characters in path"
        return ""

    async def _store(self, upload: Upload) -> None:
        """The request goes on when its file is whole and written."""
        try:
            self.received = await upload.finish()
        except UploadFailed as error:
            if self.channel is not None:
                self.channel.answer(error.status, str(error))
            return
        if self.channel is None:
            upload.discard()
        else:
            self.process()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and self.method == b"HEAD":
            message = {**message, "body": b""}  # Daphne would write every body but the first
        channel = self.channel
        if channel is not None:
            channel.hold()
            try:
                self._reply(message)
            finally:
                channel.flush()

    def push(self, data: bytes) -> bool:
        """A part of the body, as `handle_reply` sends it, without a message and its way through the application's
        layers. False: the client has to read first, or is gone; `flow.writable` is to be waited for."""
        channel = self.channel
        if self.finished or channel is None:
            return False
        if self.startedWriting and self.chunked and data:
            channel.send(b"%x\r\n%b\r\n" % (len(data), data))
            return self.flow.is_open
        channel.hold()
        try:
            _write(self, data)  # the head goes with it
        finally:
            channel.flush()
        return self.flow.is_open

    def _reply(self, message: dict[str, Any]) -> None:
        if self.finished:
            return
        if message["type"] == "http.response.start":
            if self._response_started:
                raise ValueError("the answer has begun already")
            self._response_started = True
            self.setResponseCode(message["status"])
            for name, value in message.get("headers", ()):
                self.responseHeaders.addRawHeader(name, value)
            return
        if message["type"] != "http.response.body" or not self._response_started:
            raise ValueError(f"a message {message['type']} does not belong here")
        self.write(message.get("body", b""))
        if not message.get("more_body", False):
            self.finish()

    def handle_exception(self, exception: BaseException) -> None:
        """The application broke: an error if nothing was sent, else a cut, never half an answer that looks
        whole.
        """
        if self._response_started:
            self.abort()
        elif not self.finished and self.channel is not None:
            self.channel.answer(500, "internal server error")

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Daphne's faults, without its page."""
        if self._response_started:
            self.abort()
        elif self.channel is not None:
            self.channel.answer(status, body)

    def abort(self) -> None:
        if self.channel is not None:
            self.channel.transport.abortConnection()

    def finish(self) -> None:
        if self.producer:
            self.unregisterProducer()
        super().finish()
        if self.upload is not None:
            self.upload.discard()

    def connectionLost(self, reason: Any) -> None:
        self.flow.stopProducing()
        if self.upload is not None:
            self.upload.discard()
        super().connectionLost(reason)
        if self._left is not None:
            self._left()
