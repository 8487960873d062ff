"""WebSockets on the wire: a slow reader, one that has stopped, a writer that is too fast, a peer that is silent."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from test_channel import MB, READ_TIMEOUT_S, Wire
from websockets.sync.client import ClientConnection, connect

HANDSHAKE = (
    "GET /v1/stream/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING = b"\x89\x0c"


@pytest.fixture
def wire(event_loop: str) -> Iterator[Wire]:
    wire = Wire(event_loop)
    yield wire
    wire.close()


def dial(wire: Wire, receive_buffer: int = 0) -> ClientConnection:
    return connect(
        "ws://localhost/v1/stream/ws", sock=wire.connect(receive_buffer), max_size=None, proxy=None
    )


def shaken_hands(wire: Wire, receive_buffer: int = 0) -> socket.socket:
    """A connection of a client that does nothing by itself: it answers no ping and reads nothing."""
    connection = wire.connect(receive_buffer)
    connection.sendall(HANDSHAKE.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return connection


def frame(text: str) -> bytes:
    """Masked by zeros."""
    length = len(text)
    size = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + text.encode()


@pytest.mark.loop
def test_a_slow_reader_holds_the_application_back_and_gets_everything(wire: Wire) -> None:
    with dial(wire, receive_buffer=4096) as client:
        before = wire.rss()
        client.send("flood 64")
        received = 0
        deadline = time.monotonic() + 1.5 * READ_TIMEOUT_S
        while time.monotonic() < deadline:  # a little at a time, for longer than a reader may stand still
            received += len(client.recv(timeout=15))
            time.sleep(0.05)
        assert "streamed" not in wire.said
        assert wire.rss() - before < 16 * MB
        while received < 64 * MB:
            received += len(client.recv(timeout=15))
        wire.wait_for("streamed")


@pytest.mark.loop
def test_a_reader_that_has_stopped_is_cut_off_and_the_application_told(wire: Wire) -> None:
    with shaken_hands(wire, receive_buffer=4096) as connection:
        connection.sendall(frame("flood 64"))
        wire.wait_for("disconnect", within_s=30)
        assert "streamed" not in wire.said


@pytest.mark.loop
def test_messages_that_nobody_takes_stop_the_sender_and_fill_no_memory(wire: Wire) -> None:
    with shaken_hands(wire) as connection:
        connection.sendall(frame("deaf"))
        wire.wait_for("deaf")
        before = wire.rss()
        connection.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200 * MB:
                sent += connection.send(frame("x" * 60_000))
        assert sent < 200 * MB
        assert wire.rss() - before < 16 * MB


def test_an_idle_connection_is_pinged_and_stays(wire: Wire) -> None:
    """The library answers pings by itself: without them the server would have dropped it by now."""
    with dial(wire) as client:
        time.sleep(6)
        client.send("flood 1")
        assert client.recv(timeout=15)


def test_a_peer_that_answers_no_ping_is_dropped(wire: Wire) -> None:
    received = b""
    with shaken_hands(wire) as connection:
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            pass
    assert received.startswith(PING)
    wire.wait_for("disconnect")


@pytest.mark.loop
def test_a_stopping_server_does_not_wait_for_a_silent_peer(event_loop: str) -> None:
    wire = Wire(event_loop)
    with shaken_hands(wire):
        began = time.monotonic()
        wire.close()
        assert time.monotonic() - began < 18, "the drain has ten seconds"
