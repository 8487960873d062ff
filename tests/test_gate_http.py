"""The gate in front of a real server: what reaches a client that may not ask, and what every answer carries."""

from __future__ import annotations

import json
import socket

from conftest import RunningServer, Serve
from interfaces import own_address


def ask(server: RunningServer, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """One raw request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"Connection: close\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    top, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    given = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), given, rest


def test_a_rebound_name_and_a_foreign_page_are_refused_by_the_server(server: RunningServer) -> None:
    code, given, body = ask(server, "GET /api/tags HTTP/1.1\nHost: evil.test\n")
    assert (code, body, given["content-length"]) == (403, b"", "0")
    code, _, body = ask(
        server,
        "POST /api/chat HTTP/1.1\nHost: localhost\nOrigin: https://evil.test\nContent-Length: 2\n",
        b"{}",
    )
    assert (code, body) == (403, b"")


def test_the_root_path_header_moves_no_path(server: RunningServer) -> None:
    """Daphne believes it, and Django would strip it: /x/api/version would become /api/version behind the gate."""
    code, _, _ = ask(server, "GET /x/api/version HTTP/1.1\nHost: localhost\nDaphne-Root-Path: /x\n")
    assert code == 404
    code, _, _ = ask(server, "GET /api/version HTTP/1.1\nHost: localhost\nDaphne-Root-Path: /api\n")
    assert code == 200


def test_a_proxied_request_needs_a_key(server: RunningServer) -> None:
    code, _, body = ask(server, "GET /api/tags HTTP/1.1\nHost: localhost\nX-Forwarded-For: 127.0.0.1\n")
    assert code == 401
    assert isinstance(json.loads(body)["error"], str)
    code, _, _ = ask(server, "HEAD / HTTP/1.1\nHost: localhost\nX-Forwarded-For: 8.8.8.8\n")
    assert code == 200


def test_a_web_socket_passes_the_same_gate(server: RunningServer) -> None:
    upgrade = "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
    for head, status in (
        ("Host: evil.test\n", 403),
        ("Host: localhost\nOrigin: https://evil.test\n", 403),
        ("Host: localhost\n", 404),
        ("Host: localhost\nX-Forwarded-For: 192.0.2.7\n", 401),
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            request = f"GET /api/tags HTTP/1.1\n{head}Connection: Upgrade\n{upgrade}\n".replace("\n", "\r\n")
            connection.sendall(request.encode())
            assert connection.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())


def test_the_request_id_is_echoed_clean_and_made_where_nothing_is_left_of_it(server: RunningServer) -> None:
    _, given, _ = ask(server, "GET / HTTP/1.1\nHost: localhost\nX-Request-ID: my-id:42\n")
    assert given["x-request-id"] == "my-id:42"
    for bad, clean in (
        ("a b", "a_b"),
        ("x" * 129, "x" * 128),
        ("{4f-2}", "_4f-2_"),
        ("<script>", "_script_"),
    ):
        status, given, _ = ask(server, f"GET /api/version HTTP/1.1\nHost: localhost\nX-Request-ID: {bad}\n")
        assert (status, given["x-request-id"]) == (200, clean)
    for bad in ("", "<>", "\xe4\xf6"):
        _, given, _ = ask(server, f"GET / HTTP/1.1\nHost: localhost\nX-Request-ID: {bad}\n")
        assert given["x-request-id"].startswith("req_")
        assert len(given["x-request-id"]) == 28


def test_every_answer_names_the_version(server: RunningServer) -> None:
    for path in ("/", "/api/version", "/nothing", "/status"):
        _, given, _ = ask(server, f"GET {path} HTTP/1.1\nHost: localhost\n")
        assert given["x-npu-proxy-version"].count(".") == 2


def test_unknown_paths_and_methods_speak_their_dialect(server: RunningServer) -> None:
    code, given, body = ask(server, "GET /nothing HTTP/1.1\nHost: localhost\n")
    assert (code, given["content-type"], body) == (404, "text/plain", b"404 page not found")
    code, given, body = ask(server, "GET /v1/nothing HTTP/1.1\nHost: localhost\n")
    assert (code, given["content-type"]) == (404, "application/json")
    assert json.loads(body)["error"]["type"] == "not_found_error"
    code, given, body = ask(server, "GET /api/chat HTTP/1.1\nHost: localhost\n")
    assert (code, given["allow"], body) == (405, "POST", b"405 method not allowed")


def test_a_trusted_network_needs_no_key(serve: Serve) -> None:
    """The peer is this machine's own address on an interface that is not loopback."""
    own = own_address()
    for trusted, wanted in (("", 401), (f"{own}/32", 200)):
        server = serve(NPU_PROXY_HOST="0.0.0.0", NPU_PROXY_TRUSTED_NETWORKS=trusted)
        with socket.create_connection((own, server.port), timeout=10) as connection:
            connection.sendall(f"GET /api/tags HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n".encode())
            assert int(connection.recv(65536).split()[1]) == wanted
        server.stop()
