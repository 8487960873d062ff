"""Clients that speak HTTP in odd ways, or leave in the middle of it: each gets an answer or is let go, nobody waits."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from conftest import RunningServer

WAIT_S = 30.0
BODY = json.dumps(
    {
        "model": "demo",
        "messages": [{"role": "user", "content": "How do I pull a model?"}],
        "stream": False,
        "think": False,
        "options": {"num_predict": 3, "temperature": 0},
    }
).encode()
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"


@contextmanager
def connected(server: RunningServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as connection:
        yield connection


def head(*headers: str, method: str = "POST", path: str = "/api/chat") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


def rest_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def answers(raw: bytes) -> list[tuple[int, Any]]:
    """Status and JSON of each of the answers with a length, one behind the other."""
    found = []
    while raw:
        top, _, raw = raw.partition(b"\r\n\r\n")
        lines = top.decode().lower().split("\r\n")
        length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
        body, raw = raw[:length], raw[length:]
        found.append((int(lines[0].split()[1]), json.loads(body) if body else None))
    return found


def said(answer: tuple[int, Any]) -> str:
    assert answer[0] == 200, answer
    text: str = answer[1]["message"]["content"]
    return text


def normal(server: RunningServer) -> str:
    return said(
        (200, httpx.post(f"{server.url}/api/chat", content=BODY, timeout=60).raise_for_status().json())
    )


def chunks(*parts: bytes, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    framed = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts]
    return b"".join([*framed, b"0\r\n", trailers, b"\r\n"])


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((CHUNKED,), chunks(BODY)),
        ((CHUNKED,), chunks(*(BODY[at : at + 1] for at in range(len(BODY))))),
        ((CHUNKED,), chunks(BODY, extension=b';name="value";other')),
        ((CHUNKED, "Trailer: X-Sum"), chunks(BODY, trailers=b"X-Sum: 5\r\nX-Other: a\r\n")),
        ((CHUNKED,), chunks(BODY).replace(b"%x" % len(BODY), b"%X" % len(BODY), 1)),
        ((CHUNKED,), b"0000" + chunks(BODY)),
        ((LENGTH, "Expect: 100-continue"), BODY),
        ((LENGTH, "content-type:"), BODY),
        ((LENGTH, "X-Empty:", "X-Spaces:   \t a  "), BODY),
    ],
    ids=[
        *("chunked", "a chunk a byte", "chunk extensions", "trailers", "upper case sizes", "leading zeros"),
        *("expects 100", "empty content type", "odd spaces"),
    ],
)
def test_an_odd_request_is_read_as_it_is_meant(
    server: RunningServer, headers: tuple[str, ...], body: bytes
) -> None:
    expected = normal(server)
    with connected(server) as connection:
        connection.sendall(head(*headers, "Connection: close") + body)
        found = [answer for answer in answers(rest_of(connection)) if answer[0] != 100]
    assert [said(answer) for answer in found] == [expected]


def test_a_client_that_waits_for_100_is_told_to_go_on(server: RunningServer) -> None:
    with connected(server) as connection:
        connection.sendall(head(LENGTH, "Expect: 100-continue", "Connection: close"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert answers(rest_of(connection))[-1][0] == 200


def test_a_client_that_waits_for_100_with_too_large_a_body_is_refused_at_once(server: RunningServer) -> None:
    with connected(server) as connection:
        connection.sendall(head("Content-Length: 900000000", "Expect: 100-continue"))
        received = b""
        while b"413" not in received:
            part = connection.recv(1000)
            assert part, received
            received += part


def test_pipelined_requests_are_answered_in_turn(server: RunningServer) -> None:
    expected = normal(server)
    wrong = b'{"model":"nope","messages":[{"role":"user","content":"a"}]}'
    with connected(server) as connection:
        connection.sendall(
            head(LENGTH)
            + BODY
            + head(f"Content-Length: {len(wrong)}")
            + wrong
            + head(method="GET", path="/api/version")
            + head(CHUNKED)
            + chunks(BODY)
            + head("Connection: close", method="GET", path="/api/tags")
        )
        found = answers(rest_of(connection))
    assert [status for status, _ in found] == [200, 404, 200, 200, 200]
    assert said(found[0]) == said(found[3]) == expected


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (("Content-Length: 5", "Content-Length: 6"), b"{}   "),
        ((LENGTH, CHUNKED), chunks(BODY)),
        (("Content-Length: -1",), b""),
        (("Content-Length: 1e3",), BODY),
        (("Content-Length: +5",), b"{}   "),
        (("Transfer-Encoding: gzip, chunked",), chunks(BODY)),
        ((CHUNKED,), b"zz\r\n" + BODY),
        ((CHUNKED,), b"-5\r\n" + BODY),
        ((CHUNKED,), b"ffffffffffffffffffff\r\n" + BODY),
        ((CHUNKED,), b"5\r\n" + BODY),
        ((CHUNKED,), b"5" + b";x" * 100_000 + b"\r\n"),
        (("X-Bad\x00Name: a", LENGTH), BODY),
        ((" folded: a", LENGTH), BODY),
    ],
    ids=[
        *("two lengths", "length and chunked", "negative", "exponent", "sign", "another coding", "no size"),
        *(
            "negative size",
            "huge size",
            "a short size",
            "endless extension",
            "nul in a name",
            "a folded line",
        ),
    ],
)
def test_a_request_of_two_meanings_gets_one_answer_and_no_more(
    server: RunningServer, headers: tuple[str, ...], body: bytes
) -> None:
    """What follows it on the connection is not taken for a request."""
    smuggled = head(method="GET", path="/api/tags")
    with connected(server) as connection:
        connection.sendall(head(*headers) + body)
        try:
            connection.sendall(smuggled)
            connection.shutdown(socket.SHUT_WR)
            received = rest_of(connection)
        except OSError:
            received = b""  # cut off before it could be read
    assert b'"models"' not in received
    assert received.count(b"HTTP/1.1 ") <= 1
    assert not received or 400 <= int(received.split()[1]) < 500
    assert normal(server)


@pytest.mark.parametrize(
    ("sent", "how"),
    [
        (head(LENGTH)[:20], "half a head"),
        (head(LENGTH) + BODY[:20], "half a body"),
        (head(CHUNKED) + b"40\r\n" + BODY[:20], "half a chunk"),
        (head(CHUNKED) + chunks(BODY)[:-5], "no last chunk"),
        (head("Expect: 100-continue", LENGTH), "nothing after 100"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
        (b"\x00" * 500, "zeros"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_client_that_closes_its_half_in_the_middle_is_let_go(
    server: RunningServer, sent: bytes, how: str
) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = rest_of(connection)
    assert b" 200 " not in received.split(b"\r\n")[0], how


def test_a_client_that_only_closes_its_half_gets_its_answer_or_is_let_go(server: RunningServer) -> None:
    """A whole request was sent; whether a closed half is a client that left is for the server to say."""
    with connected(server) as connection:
        connection.sendall(head(LENGTH, "Connection: close") + BODY)
        connection.shutdown(socket.SHUT_WR)
        received = rest_of(connection)
    assert not received or received.startswith(b"HTTP/1.1 200")
    assert normal(server)


def test_a_request_that_comes_a_byte_at_a_time_is_answered(server: RunningServer) -> None:
    with connected(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head(LENGTH, "Connection: close") + BODY:
            connection.sendall(bytes([byte]))
        assert answers(rest_of(connection))[0][0] == 200


def test_many_half_requests_keep_nobody_waiting(server: RunningServer) -> None:
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) for _ in range(200)]
    try:
        for index, connection in enumerate(held):
            connection.sendall((head(LENGTH) + BODY[:-5])[: 30 + index])
        assert normal(server)
    finally:
        for connection in held:
            connection.close()
    assert normal(server)
