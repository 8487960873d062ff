"""HTTP on the wire: bodies too large, wrong heads, clients that do not read, applications that fail."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.loop

HERE = Path(__file__).resolve().parent
BODY_BYTES = 100_000
READ_TIMEOUT_S = 2.0
MB = 1024 * 1024


class Wire:
    """The process of wire_app.py and what it has said."""

    def __init__(self, kind: str) -> None:
        command = [sys.executable, str(HERE / "wire_app.py"), kind, str(BODY_BYTES), str(READ_TIMEOUT_S)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for("port").split()[1])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())

    def wait_for(self, word: str, times: int = 1, within_s: float = 15.0) -> str:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = [line for line in self.said if line.startswith(word)]
            if len(found) >= times:
                return found[times - 1]
            time.sleep(0.01)
        raise AssertionError(f"{word!r} was not said {times} times in {within_s} s: {self.said}")

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(15)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def rss(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self._reader.join(5)
        self.process.stdout.close()


def test_an_answer_is_delivered_whole_though_the_server_stops(event_loop: str) -> None:
    """The application is done while its last bytes still wait for the client: they are work as well."""
    wire = Wire(event_loop)
    with wire.connect(receive_buffer=4096) as connection:
        connection.sendall(post("/api/chat?do=ask&mb=20"))
        received = len(connection.recv(4096))
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        while "streamed" not in wire.said:
            received += len(connection.recv(4096))
        time.sleep(1)
        received += len(read_all(connection))
    assert received > 20 * MB
    wire.close()


@pytest.fixture(scope="module")
def process(event_loop: str) -> Iterator[Wire]:
    running = Wire(event_loop)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def wire(process: Wire) -> Wire:
    """It has said nothing yet, in this test."""
    process.said.clear()
    return process


def post(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])


def test_a_body_within_the_limit_arrives_whole(wire: Wire) -> None:
    with wire.connect() as connection:
        for framing, body in (
            (f"Content-Length: {BODY_BYTES}", b"x" * BODY_BYTES),
            ("Transfer-Encoding: chunked", b"%x\r\n" % BODY_BYTES + b"x" * BODY_BYTES + b"\r\n0\r\n\r\n"),
        ):
            connection.sendall(post("/api/chat", framing) + body)
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65536)
            assert b"\r\n100000\r\n" in answer


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_a_body_announced_too_large_is_refused_before_it_is_sent(wire: Wire, path: str) -> None:
    with wire.connect() as connection:
        connection.sendall(post(path, f"Content-Length: {BODY_BYTES + 1}", "Expect: 100-continue"))
        answer = read_all(connection)
    assert status_of(answer) == 413
    assert b"x-request-id: req_" in answer
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert "NPU_PROXY_MAX_BODY" in (error if path.startswith("/api") else error["message"])


def test_a_client_that_sends_on_reads_the_refusal_and_not_a_reset(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.sendall(post("/api/chat", f"Content-Length: {64 * MB}"))
        for _ in range(64):
            connection.sendall(b"x" * MB)
        assert status_of(read_all(connection)) == 413


def test_a_chunked_body_is_refused_when_it_passes_the_limit_and_costs_no_memory(wire: Wire) -> None:
    before = wire.rss()
    with wire.connect() as connection:
        connection.sendall(post("/api/chat", "Transfer-Encoding: chunked"))
        for _ in range(100):
            connection.sendall(b"100000\r\n" + b"x" * MB + b"\r\n")
        assert wire.rss() - before < 5 * MB
        assert status_of(read_all(connection)) == 413


def test_a_large_body_from_a_foreign_page_is_refused_at_its_head(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.sendall(post("/api/chat", "Origin: https://evil.test", "Content-Length: 90000"))
        assert status_of(read_all(connection)) == 403


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * MB + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 600 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + (b"X: " + b"x" * 9000 + b"\r\n") * 9 + b"\r\n", 431),
        (b"GET\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n", 400),
        (b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: two\r\n\r\n", 400),
        (b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (
            b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
    ],
)
def test_a_wrong_head_is_answered_and_not_only_cut(wire: Wire, head: bytes, wanted: int) -> None:
    with wire.connect() as connection:
        connection.sendall(head)
        answer = read_all(connection)
    assert status_of(answer) == wanted
    assert isinstance(json.loads(answer.partition(b"\r\n\r\n")[2])["error"], str)


@pytest.mark.parametrize(
    "start", [b"GET / HT", b"", b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_request_that_never_ends_to_arrive_is_given_up(wire: Wire, start: bytes) -> None:
    """Drop by drop, so that the connection is never idle. A connection that asks nothing is left alone."""
    with wire.connect() as connection:
        connection.settimeout(0.3)
        connection.sendall(start)
        answer = b""
        deadline = time.monotonic() + 6
        while not answer and time.monotonic() < deadline:
            connection.sendall(b"x" if start and not start.endswith(b"x") else b"")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
        assert answer[:12] == (b"HTTP/1.1 408" if start else b"")


@pytest.mark.parametrize("do", ["stream", "ask"])
def test_32_clients_that_read_nothing_cost_no_memory(wire: Wire, do: str) -> None:
    """200 MB are offered to each; `ask` waits for the scope's writable, `stream` leaves it to send."""
    with wire.connect() as warm:
        warm.sendall(post(f"/api/chat?do={do}&mb=2", "Connection: close"))
        read_all(warm)
    before = wire.rss()
    clients = [wire.connect(receive_buffer=4096) for _ in range(32)]
    for client in clients:
        client.sendall(post(f"/api/chat?do={do}&mb=200"))
    time.sleep(1.5)
    grown = wire.rss() - before
    for client in clients:
        client.close()
    wire.wait_for("cancelled", times=32)
    assert grown < 5 * MB, f"{grown / MB:.1f} MB"


def test_a_slow_reader_gets_every_byte(wire: Wire) -> None:
    with wire.connect(receive_buffer=65536) as connection:
        connection.sendall(post("/api/chat?do=ask&mb=20", "Connection: close"))
        time.sleep(READ_TIMEOUT_S / 2)
        body = read_all(connection).partition(b"\r\n\r\n")[2]
    assert len(b"".join(re.split(rb"\r?\n?4000\r\n", body))) >= 20 * MB
    assert body.endswith(b"0\r\n\r\n")
    wire.wait_for("streamed")


def test_a_client_that_stops_to_read_is_cut_off_and_its_work_ends(wire: Wire) -> None:
    with wire.connect(receive_buffer=4096) as connection:
        connection.sendall(post("/api/chat?do=ask&mb=200"))
        wire.wait_for("cancelled", within_s=READ_TIMEOUT_S + 5)
        with pytest.raises(ConnectionResetError):
            read_all(connection)


def test_a_client_that_reads_a_little_all_the_time_is_not_cut_off(wire: Wire) -> None:
    with wire.connect(receive_buffer=4096) as connection:
        connection.sendall(post("/api/chat?do=ask&mb=200"))
        deadline = time.monotonic() + 2.5 * READ_TIMEOUT_S
        while time.monotonic() < deadline:
            assert connection.recv(65536)
            time.sleep(0.05)
        assert "cancelled" not in wire.said


def test_work_ends_when_its_client_resets(wire: Wire) -> None:
    connection = wire.connect()
    connection.sendall(post("/api/chat?do=ask&mb=2000"))
    connection.recv(1000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    wire.wait_for("cancelled")


def test_nothing_is_kept_of_connections_that_are_gone(wire: Wire) -> None:
    upgrade = (
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    for kind in (f"Connection: Upgrade\r\n{upgrade}", "Connection: Upgrade\r\nUpgrade: h2c\r\n", ""):
        with wire.connect() as connection:
            connection.sendall(f"GET /status HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n".encode())
            assert status_of(connection.recv(65536)) == (404 if "websocket" in kind else 200)
    with wire.connect() as connection:
        connection.sendall(post("/api/chat?do=channels", "Connection: close"))
        assert b"\r\n1\r\n1\r\n" in read_all(connection)


def test_a_failure_before_the_answer_is_a_500_in_the_dialect(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.sendall(post("/v1/chat/completions?do=fail", "Connection: close"))
        answer = read_all(connection)
    assert status_of(answer) == 500
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"] == "internal server error"


def test_a_failure_in_the_middle_cuts_the_answer_so_that_it_cannot_look_whole(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.sendall(post("/api/chat?do=fail-late"))
        with pytest.raises(ConnectionResetError):  # and no closing chunk before it
            read_all(connection)


def test_an_application_that_answers_nothing_is_a_500(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.sendall(post("/v1/chat/completions?do=silent"))
        answer = read_all(connection)
    assert status_of(answer) == 500
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "api_error"


def test_head_has_no_body_whatever_the_application_sends(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.sendall(b"HEAD /api/tags?do=head HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(connection).partition(b"\r\n\r\n")[2] == b""


def test_requests_on_one_connection_are_answered_in_order(wire: Wire) -> None:
    bodies = [b"", b"x", b"xx"]
    with wire.connect() as connection:
        for index, body in enumerate(bodies):
            close = ("Connection: close",) if index == len(bodies) - 1 else ()
            connection.sendall(post("/api/chat", f"Content-Length: {len(body)}", *close) + body)
        assert re.findall(rb"\r\n1\r\n(\d)\r\n", read_all(connection)) == [b"0", b"1", b"2"]
