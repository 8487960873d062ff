"""The HTTP client of the benchmark: sockets that note when bytes came, and parse them when all is over.

It shares the cores with the server, so it does nothing else meanwhile. Connections are kept, as clients do.
"""

from __future__ import annotations

import json
import select
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

RECEIVE_BYTES = 1 << 16
DEADLINE_S = 300.0
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Exchange(Struct):
    """A request and what came back. Times in seconds from the begin of the batch."""

    request: bytes
    start_s: float = 0.0
    data: bytes = b""
    arrivals: list[tuple[float, int]] = []
    """(time, bytes received until then)"""

    @property
    def status(self) -> int:
        return int(self.data[9:12] or b"0")

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of the body, whatever its framing."""
        return [json.loads(line) for line in self._body().splitlines() if line.strip()]

    def body_arrivals(self) -> tuple[float, ...]:
        """When bytes of the body came; headers alone do not count."""
        head = self.data.find(b"\r\n\r\n") + 4
        return tuple(at for at, received in self.arrivals if received > head)

    def _body(self) -> bytes:
        head, _, body = self.data.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            return body
        parts: list[bytes] = []
        while body:
            size, _, rest = body.partition(b"\r\n")
            length = int(size, 16)
            parts.append(rest[:length])
            body = rest[length + 2 :]
            if not length:
                break
        return b"".join(parts)


class Client:
    """Kept connections to one server on this machine."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._idle: list[socket.socket] = []

    def post(self, path: str, body: dict[str, Any], start_s: float = 0.0) -> Exchange:
        """Not sent yet: see `exchange`."""
        return Exchange(request=post(path, body), start_s=start_s)

    def exchange(self, exchanges: Sequence[Exchange]) -> None:
        """Sends each at its time and fills in what comes back. Raises OSError."""
        due = sorted(exchanges, key=lambda exchange: exchange.start_s, reverse=True)
        began = time.perf_counter()
        if len(due) == 1 and not due[0].start_s:
            self._exchange_one(due[0], began)
            return
        with selectors.DefaultSelector() as selector:
            while due or selector.get_map():
                now = time.perf_counter() - began
                while due and due[-1].start_s <= now:
                    self._send(due.pop(), selector, began)
                ready = selector.select(due[-1].start_s - now if due else DEADLINE_S)
                if not ready and not due:
                    raise TimeoutError(f"no byte within {DEADLINE_S:g} s")
                for key, _ in ready:
                    self._receive(key, selector, began)

    def _exchange_one(self, exchange: Exchange, began: float) -> None:
        """The same for one alone, with less work for each token."""
        connection = self._connection()
        connection.settimeout(DEADLINE_S)
        buffer = bytearray()
        exchange.arrivals = []
        exchange.start_s = time.perf_counter() - began
        connection.sendall(exchange.request)
        while True:
            data = connection.recv(RECEIVE_BYTES)
            buffer += data
            exchange.arrivals.append((time.perf_counter() - began, len(buffer)))
            if not data or _is_whole(buffer):
                break
        exchange.data = bytes(buffer)
        if data:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _connection(self) -> socket.socket:
        """One that waits, or a new one. Where something came between two requests the server has closed it: it was
        idle for longer than servers wait."""
        while self._idle:
            connection = self._idle.pop()
            if not select.select([connection], [], [], 0)[0]:
                return connection
            connection.close()
        return connect(self._address)

    def _send(self, exchange: Exchange, selector: selectors.BaseSelector, began: float) -> None:
        connection = self._connection()
        buffer = bytearray()
        exchange.arrivals = []
        selector.register(connection, selectors.EVENT_READ, (exchange, buffer))
        exchange.start_s = time.perf_counter() - began
        connection.sendall(exchange.request)

    def _receive(self, key: selectors.SelectorKey, selector: selectors.BaseSelector, began: float) -> None:
        exchange, buffer = key.data
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        data = connection.recv(RECEIVE_BYTES)
        buffer += data
        exchange.arrivals.append((time.perf_counter() - began, len(buffer)))
        if data and not _is_whole(buffer):
            return
        selector.unregister(connection)
        exchange.data = bytes(buffer)
        if data:
            self._idle.append(connection)
        else:
            connection.close()


def post(path: str, body: dict[str, Any]) -> bytes:
    """The bytes of a request."""
    encoded = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded


def connect(address: tuple[str, int], receive_buffer_bytes: int = 0) -> socket.socket:
    """Blocking. A receive buffer must be set before the connection is made: the window is wider else."""
    connection = socket.socket()
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _is_whole(buffer: bytearray) -> bool:
    """A stream ends with its last chunk, a whole answer with its Content-Length."""
    if buffer.endswith(_LAST_CHUNK):
        return True
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(buffer[:end]).lower()
    at = head.find(b"content-length:")
    if at < 0:
        return False
    length = int(head[at + 15 :].split(b"\r\n", 1)[0])
    return len(buffer) >= end + 4 + length
