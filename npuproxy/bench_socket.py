"""The benchmark's end of a WebSocket: a plain socket past its handshake."""

from __future__ import annotations

import base64
import os
import socket

from inference.bench_sides import BenchError
from npuproxy.bench_client import connect


def upgraded(address: tuple[str, int], path: str, deadline_s: float = 30.0) -> socket.socket:
    """Blocking, with that deadline of a read. What follows the head at once is lost. Raises BenchError, OSError."""
    connection = connect(address)
    connection.settimeout(deadline_s)
    key = base64.b64encode(os.urandom(16)).decode()
    fields = (
        f"GET {path} HTTP/1.1\r\nHost: localhost:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    connection.sendall(fields.encode())
    head = b""
    while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
        head += data
    if not head.startswith(b"HTTP/1.1 101"):
        connection.close()
        raise BenchError(f"no WebSocket: {head[:200].decode(errors='replace')}")
    return connection
