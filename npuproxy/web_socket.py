"""One WebSocket on its connection: its reader held to, its writer held back, its refusals said over HTTP.

Built on Daphne's and Autobahn's classes, which by themselves write without asking whether the client reads, take
messages faster than anybody works them off, and answer a refused handshake with a bare 403.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from autobahn.websocket.types import ConnectionDeny
from daphne.server import WebSocketFactory
from daphne.ws_protocol import WebSocketProtocol
from twisted.protocols.policies import ProtocolWrapper

from compat_api import errors
from npuproxy.channel import Limits, send_at_once
from npuproxy.peers import Header
from npuproxy.request import Flow

MOST_WAITING = 8
"""Messages that the application has not taken; above it the connection is not read."""

PONG_S = 30.0
HANDSHAKE_S = 5.0


class WebSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne ships no types
    """A handshake, then messages in both directions."""

    factory: SocketFactory
    application_queue: Any = None
    _denial: dict[str, Any]
    _held_back = False

    def connectionMade(self) -> None:
        self.server = self.factory.server_class
        self.transport.unregisterProducer()  # the HTTP channel, which this connection has left
        self.flow = Flow(self.transport)
        self._plain = not isinstance(self.transport, ProtocolWrapper)
        super().connectionMade()
        self.transport.registerProducer(self.flow, True)

    def connectionLost(self, reason: Any) -> None:
        self.flow.stopProducing()
        super().connectionLost(reason)

    # --- Handshake ------------------------------------------------------------------------------------------

    def onConnect(self, request: Any) -> Any:
        request.path = self.http_request_uri.partition("?")[
            0
        ]  # as it stands: Autobahn drops parts of odd ones
        if not request.headers.get("sec-websocket-protocol", "").isascii():
            raise ConnectionDeny(400, "a subprotocol is not ASCII")
        return super().onConnect(request)

    def handle_reply(self, message: dict[str, Any]) -> None:
        """What the application sends; a part of it may come when the client has gone."""
        kind = message["type"]
        if kind == "websocket.http.response.start":
            self._denial = message
        elif kind == "websocket.http.response.body":
            self._deny(self._denial["status"], self._denial["headers"], message["body"])
        elif kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close" and self.state == self.STATE_OPEN:
            self.sendCloseFrame(message.get("code", 1000), message.get("reason", "").encode())
        elif kind == "websocket.close" or self.state == self.STATE_OPEN:
            super().handle_reply(message)

    def push(self, text: bytes) -> bool:
        """One message of text, at once and whole: Autobahn's own way doubles what a token costs, by log lines that
        nobody reads. False: the client has to read first, or is gone; `flow.writable` is to be waited for."""
        if self.state != self.STATE_OPEN:
            return False
        if self.send_queue or self._perMessageCompress is not None:
            self.sendMessage(text)
        else:
            send_at_once(self.transport, _head(len(text)) + text, self._plain)
        return self.flow.is_open

    def _accept(self, message: dict[str, Any]) -> None:
        fields = {name.decode(): value.decode() for name, value in message.get("headers", ())}
        self.handshake_deferred.callback((message.get("subprotocol"), fields))
        del self.handshake_deferred

    def _deny(self, status: int, headers: list[Header], body: bytes) -> None:
        """Whatever else the application does, the connection is over."""
        fields = [*headers, (b"connection", b"close")]
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
        lines += [name + b": " + value for name, value in fields]
        self.sendData(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.wasClean = True
        self.dropConnection(abort=False)
        self.server.protocol_disconnected(self)

    def sendHttpErrorResponse(
        self, code: int, reason: str, responseHeaders: list[tuple[str, str]] | None = None
    ) -> None:
        """Autobahn's faults of a handshake, in our envelope."""
        status, headers, body = errors.render("openai", code, reason)
        extra = [(name.lower().encode(), value.encode()) for name, value in responseHeaders or ()]
        self._deny(status, headers + extra, body)

    # --- Messages -------------------------------------------------------------------------------------------

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        if self.application_queue.qsize() > MOST_WAITING and not self._held_back:
            self._held_back = True
            self.transport.pauseProducing()

    async def receive(self) -> dict[str, Any]:
        """The application's next message."""
        message: dict[str, Any] = await self.application_queue.get()
        if self._held_back and self.application_queue.empty():
            self._held_back = False
            self.transport.resumeProducing()
        return message

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.server.protocol_disconnected(self)
        if self.application_queue is not None:
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": code})

    # --- Life -----------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Once a second. A ping behind what the client does not read would say nothing of the client."""
        if 0 < self.factory.read_timeout_s < self.flow.stalled_s(now):
            self.transport.abortConnection()
        elif self.flow.is_open:
            self.check_timeouts()

    def onAutoPingTimeout(self) -> None:
        if self.flow.is_open:
            super().onAutoPingTimeout()
        else:
            self.autoPingTimeoutCall = None

    def close_when_idle(self) -> None:
        """The server stops: the application ends its running work, and then the connection."""
        if self.application_queue is not None:
            self.application_queue.put_nowait({"type": "npuproxy.drain"})

    def abort(self) -> None:
        """The application was cancelled; what it said last is still delivered."""
        if self.state != self.STATE_CLOSING:
            self.transport.abortConnection()


def _head(length: int) -> bytes:
    """Of a text message in one frame of a server: no mask."""
    if length < 126:
        return bytes((0x81, length))
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Makes them. A message that is too long, or no message at all, ends with a code and a reason, not with a cut."""

    protocol = WebSocket

    def __init__(self, server: Any, limits: Limits) -> None:
        super().__init__(server, server="")
        self.read_timeout_s = limits.read_timeout_s
        self.setProtocolOptions(
            maxMessagePayloadSize=limits.body_bytes,
            maxFramePayloadSize=limits.body_bytes,
            failByDrop=False,
            openHandshakeTimeout=HANDSHAKE_S,
            autoPingTimeout=min(PONG_S, 1.5 * limits.ping_s),
            allowNullOrigin=True,  # the gate judges origins
        )
