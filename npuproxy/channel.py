"""HTTP/1.1 as it is on the wire: bounded while bytes arrive, held back while the client does not read.

Built on Daphne's and Twisted's classes. Twisted's own `HTTPChannel` buffers a body of any length before
anybody sees it, answers faults with an empty 400, and Daphne writes without asking whether the client reads.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from daphne.http_protocol import HTTPFactory
from twisted.protocols.policies import ProtocolWrapper
from twisted.web import http
from twisted.web.http_headers import Headers

from compat_api import errors
from compat_api.urls import dialect_of, resolve
from npuproxy.gate import Answer, Passed
from npuproxy.peers import Header
from npuproxy.request import Request
from npuproxy.upload import Rules, Upload

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


def send_at_once(transport: Any, data: bytes, plain: bool) -> None:
    """To the socket while nothing waits before it. Twisted would send in the reactor's next turn, which costs each
    token two changes of what is polled. `plain`: no TLS."""
    if plain and transport.connected and not (transport.dataBuffer or transport._tempDataLen):
        with suppress(OSError):  # the transport meets it again, and knows what to do
            data = data[transport.socket.send(data) :]
    if data:
        transport.write(data)


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
    timeOut: float | None
    _held: list[bytes] | None = None
    _heard_at = 0.0
    plain = True
    """False under TLS, where what is written must not go to the socket as it is."""

    def connectionMade(self) -> None:
        super().connectionMade()
        connection = self.transport
        if isinstance(connection, ProtocolWrapper):  # TLS
            self.plain, connection = False, connection.transport
        connection.bufferSize = WRITE_BUFFER_BYTES
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
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
        held, self._held = self._held, None
        if held:
            self.send(b"".join(held))

    def send(self, data: bytes) -> None:
        send_at_once(self.transport, data, self.plain)

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

    # --- Deadlines ------------------------------------------------------------------------------------------

    def setTimeout(self, period: float | None) -> float | None:
        """Twisted would start or end a timer twice for each request; `check` looks once a second anyway."""
        before, self.timeOut = self.timeOut, period
        self._heard_at = time.monotonic()
        return before

    def resetTimeout(self) -> None:
        self._heard_at = time.monotonic()

    # --- Receiving ------------------------------------------------------------------------------------------

    def allHeadersReceived(self) -> None:
        self.head_complete = True
        length: int | None = self.length
        takes_file = self.factory.takes_file(self)
        most_bytes = self.factory.limits.body_bytes
        if length is None or length > min(JUDGED_EARLY_BYTES, most_bytes) or takes_file:
            request_id, extra = self._identity()
            verdict = self.factory.judge(self, request_id)
            if isinstance(verdict, Answer):
                self.give(verdict, extra)
            elif takes_file:
                self._expect_file(length)
            elif length is not None and length > most_bytes:
                self.refuse_body()
        if not self.refused:
            super().allHeadersReceived()

    def _expect_file(self, length: int | None) -> None:
        rules = self.factory.limits.uploads
        assert rules is not None
        fault = rules.fault_of(length)
        if fault is not None:
            self.answer(*fault)
            return
        reading = self._networkProducer
        self.requests[-1].upload = Upload(rules, reading.pauseProducing, reading.resumeProducing)

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
        """Once a second: a request that never ends to arrive, an answer that is never read, an idle connection."""
        if self.timeOut is not None and now - self._heard_at > self.timeOut:
            self.setTimeout(None)
            self.timeoutConnection()
            return
        if self._handlingRequest and self.requests:
            if 0 < self.factory.limits.read_timeout_s < self.requests[0].flow.stalled_s(now):
                self.transport.abortConnection()
        elif self.requests and (upload := self.requests[-1].upload) is not None:
            if not self.refused and upload.stalled_s(now) > upload.rules.stall_s:
                upload.discard()
                self.answer(408, "the rest of the file did not arrive in time")
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
        """An error in the envelope of the dialect that was spoken to."""
        request_id, extra = self._identity()
        dialect = dialect_of(*self._asked())
        self.give(Answer(*errors.render(dialect, status, message, request_id=request_id)), extra)

    def _identity(self) -> tuple[str, list[Header]]:
        identity: tuple[str, list[Header]] = self.factory.server.identity(*self._asked())
        return identity

    def _asked(self) -> tuple[str, list[Header]]:
        """Path and headers of the request that is answered, or of the one that arrives; as far as they are known."""
        if self._handlingRequest and self.requests:
            return _path(self.requests[0].uri), _headers(self.requests[0])
        return _path(getattr(self, "_path", b"/")), _headers(self.requests[-1]) if self.requests else []

    def give(self, answer: Answer, extra: list[Header]) -> None:
        """Send a whole answer below the application, and close without making the client lose it. `extra`: headers
        that every answer carries."""
        if self.refused:
            return
        self.refused = True
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}".encode()]
        fields = [*answer.headers, *extra, (b"connection", b"close")]
        lines += [name + b": " + value for name, value in fields]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + answer.body)
        self.setTimeout(LINGER_S)
        if self.plain:
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()  # says so to the client, then waits for it to say so too

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
    uploads: Rules | None = None
    ping_s: float = 20.0
    """An idle WebSocket is pinged so often."""


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

    def takes_file(self, channel: Channel) -> bool:
        """Is the body of this request a file?"""
        if self.limits.uploads is None or channel._command != b"POST":
            return False
        operation = resolve(*_target(channel)).operation
        return operation is not None and operation.takes_file

    def judge(self, channel: Channel, request_id: str) -> Answer | Passed:
        """The gate's verdict from the head alone."""
        request = channel.requests[-1]
        method, path = _target(channel)
        peer, headers = [request.client.host], _headers(request)
        verdict: Answer | Passed = self.server.judge(method, path, headers, peer, request_id)
        return verdict

    def startFactory(self) -> None:
        """No access log of Twisted's, so no date to keep for it either."""

    def stopFactory(self) -> None:
        pass

    def log(self, request: Any) -> None:
        pass


def _target(channel: Channel) -> tuple[str, str]:
    """Method and path, as the gate reads them."""
    return channel._command.decode("latin-1"), _path(channel._path)


def _path(target: bytes) -> str:
    return unquote(target.split(b"?", 1)[0].decode("latin-1"))


def _headers(request: Request) -> list[Header]:
    fields = request.requestHeaders.getAllRawHeaders()
    return [(name.lower(), value) for name, values in fields for value in values]
