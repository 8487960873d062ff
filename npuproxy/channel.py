"""HTTP/1.1 as it is on the wire: bounded while bytes arrive, held back while the client does not read.

Built on Daphne's and Twisted's classes. Twisted's own `HTTPChannel` buffers a body of any length before
anybody sees it, answers faults with an empty 400, and Daphne writes without asking whether the client reads.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet.interfaces import IPushProducer
from twisted.web import http
from twisted.web.http_headers import Headers
from zope.interface import implementer

from compat_api import errors
from compat_api.urls import dialect_of
from npuproxy.gate import Answer

WRITE_BUFFER_BYTES = 32 * 1024
"""Above this the application waits. Twisted's 64 KiB, times two while it copies, would be 4 MB with 32 stuck
clients.
"""

UNSENT_BYTES = 64 * 1024
"""In the system's buffer, for each connection. By itself it takes megabytes, and says that there is room again
only when a third of them are free: a slow reader would look like one that has stopped.
"""

IDLE_S = 120.0
"""Go's client keeps an idle connection for 90 s; whoever closes first must not be us."""

LINGER_S = 10.0
"""How long a refused body is still received and dropped, so that the client reads our answer and not a reset.
"""

JUDGED_EARLY_BYTES = 64 * 1024


@implementer(IPushProducer)
class Flow:
    """Whether the client takes what it is sent: one for each request."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._open = asyncio.Event()
        self._open.set()
        self._seen: tuple[int, int] = (0, 0)
        self._seen_at = 0.0

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

    def handleContentChunk(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if self.received_bytes > self.channel.factory.limits.body_bytes:
            self.channel.refuse_body()
        elif not self.channel.refused:
            super().handleContentChunk(data)

    def process(self) -> Any:
        upgrade = self.requestHeaders.getRawHeaders(b"Upgrade")
        if upgrade and upgrade[0].lower() == b"websocket":
            # Its connection goes on under another protocol.
            self.channel.factory.channels.discard(self.channel)
        else:
            self.registerProducer(self.flow, True)
        return super().process()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and self.method == b"HEAD":
            message = {**message, "body": b""}  # Daphne would write every body but the first
        channel = self.channel
        if channel is not None:
            channel.hold()
            try:
                super().handle_reply(message)
            finally:
                channel.flush()

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

    def connectionLost(self, reason: Any) -> None:
        self.flow.stopProducing()
        super().connectionLost(reason)


class Channel(http.HTTPChannel):  # type: ignore[misc]
    """One connection. `refused`: what still arrives is dropped until the client closes or LINGER_S have
    passed.
    """

    totalHeadersSize = 64 * 1024
    MAX_LENGTH = 32 * 1024
    requestFactory = Request
    factory: Factory
    refused = False
    arriving_since: float | None = None
    head_complete = False
    _held: list[bytes] | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.bufferSize = WRITE_BUFFER_BYTES
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self.transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self.factory.channels.add(self)

    def connectionLost(self, reason: Any) -> None:
        self.factory.channels.discard(self)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        if self.arriving_since is None and not self._handlingRequest:
            self.arriving_since = time.monotonic()
        super().dataReceived(data)

    def rawDataReceived(self, data: bytes) -> None:
        if not self.refused:
            super().rawDataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if not self.refused:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.answer(431, "a header line is too long")

    # --- Sending --------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Collect what is written until `flush`: head, chunk and end of one message leave in one piece."""
        self._held = []

    def flush(self) -> None:
        """To the socket at once while nothing waits before it. Twisted would send in the reactor's next turn,
        which costs each token two changes of what is polled.
        """
        held, self._held = self._held, None
        if not held:
            return
        data, transport = b"".join(held), self.transport
        if transport.connected and not (transport.dataBuffer or transport._tempDataLen):
            with suppress(OSError):  # the transport meets it again, and knows what to do
                data = data[transport.socket.send(data) :]
        transport.write(data)

    def write(self, data: bytes) -> None:
        self.writeSequence((data,))

    def writeSequence(self, parts: Sequence[bytes]) -> None:
        if self._held is None:
            self.transport.writeSequence(parts)
        else:
            self._held += parts

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        lines = [b"%b %b %b" % (version, code, reason)]
        lines += [b"%b: %b" % (name, one) for name, values in headers.getAllRawHeaders() for one in values]
        self.write(b"\r\n".join(lines) + b"\r\n\r\n")

    # --- Receiving ------------------------------------------------------------------------------------------

    def allHeadersReceived(self) -> None:
        self.head_complete = True
        length: int | None = self.length
        if length is not None and length > self.factory.limits.body_bytes:
            self.refuse_body()
        elif length is None or length > JUDGED_EARLY_BYTES:
            verdict = self.factory.judge(self)
            if isinstance(verdict, Answer):
                self.give(verdict)
        if not self.refused:
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self.arriving_since, self.head_complete = None, False
        if not self.refused:
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self.flush()  # before the next request, which may be refused at once
        super().requestDone(request)
        if self.factory.stopping and not self._handlingRequest:
            self.loseConnection()

    def check(self, now: float) -> None:
        """Once a second: a request that never ends to arrive, an answer that is never read."""
        if self._handlingRequest and self.requests:
            if 0 < self.factory.limits.read_timeout_s < self.requests[0].flow.stalled_s(now):
                self.transport.abortConnection()
        elif self.arriving_since is not None and not self.refused:
            limits = self.factory.limits
            deadline_s = limits.body_deadline_s if self.head_complete else limits.head_deadline_s
            if now - self.arriving_since > deadline_s:
                self.answer(408, "the request did not arrive in time")

    def close_when_idle(self) -> None:
        if self._handlingRequest:
            self.persistent = 0
        else:
            self.loseConnection()

    def refuse_body(self) -> None:
        limit = self.factory.limits.body_bytes
        self.answer(413, f"the request body is larger than {limit} bytes; NPU_PROXY_MAX_BODY sets the limit")

    def answer(self, status: int, message: str) -> None:
        """An error in the envelope of the dialect whose path was asked for."""
        target = (
            self.requests[0].uri if self._handlingRequest and self.requests else getattr(self, "_path", b"/")
        )
        path = unquote(target.decode("latin-1"))
        self.give(Answer(*errors.render(dialect_of(path), status, message)))

    def give(self, answer: Answer) -> None:
        """Send a whole answer below the application, and close without making the client lose it."""
        if self.refused:
            return
        self.refused = True
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}".encode()]
        _, extra = self.factory.server.identity(_headers(self.requests[-1]) if self.requests else [])
        fields = [*answer.headers, *extra, (b"connection", b"close")]
        lines += [name + b": " + value for name, value in fields]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + answer.body)
        self.setTimeout(LINGER_S)
        self.transport.loseWriteConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self.answer(431, "the request has too many or too large headers")
        else:
            self.answer(400, "the request is no valid HTTP")


class Limits(NamedTuple):
    """What a connection may cost."""

    body_bytes: int
    read_timeout_s: float
    """0: an answer may stay unread for ever."""
    head_deadline_s: float = 30.0
    body_deadline_s: float = 600.0


class Factory(HTTPFactory):  # type: ignore[misc]
    """Makes the channels, HTTP/1.1 only, and knows those that are open."""

    protocol = Channel
    stopping = False

    def __init__(self, server: Any, limits: Limits) -> None:
        super().__init__(server)
        self.limits = limits
        self.timeOut = IDLE_S
        self.channels: set[Channel] = set()

    def buildProtocol(self, address: Any) -> Any:
        return http.HTTPFactory.buildProtocol(self, address)  # Daphne's would put its own Request in

    def judge(self, channel: Channel) -> object:
        """The gate's verdict from the head alone."""
        request = channel.requests[-1]
        path = unquote(channel._path.split(b"?", 1)[0].decode("latin-1"))
        method = channel._command.decode("latin-1")
        return self.server.judge(method, path, _headers(request), [request.client.host])

    def startFactory(self) -> None:
        """No access log of Twisted's, so no date to keep for it either."""

    def stopFactory(self) -> None:
        pass

    def log(self, request: Any) -> None:
        pass


def _headers(request: Request) -> list[tuple[bytes, bytes]]:
    fields = request.requestHeaders.getAllRawHeaders()
    return [(name.lower(), value) for name, values in fields for value in values]
