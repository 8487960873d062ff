"""Who may open /v1/stream/ws: keys by header and by subprotocol, Host and Origin, TLS; and keys that end meanwhile."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Authority
from conftest import RunningServer, start_server
from interfaces import own_address
from keys import apikey
from socket_client import ask, dial, receive, text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

REMOTE = {"X-Forwarded-For": "192.0.2.7"}
"""What makes a connection of this machine one from elsewhere: a proxy that nobody trusts stands between."""

SHORT = {"temperature": 0, "max_tokens": 5}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that these tests fill with keys."""
    settings = {"NPU_PROXY_DEVICE": "CPU", "NPU_PROXY_HOST": "0.0.0.0", "NPU_PROXY_MAX_BODY": "1MB"}
    running = start_server(tmp_path_factory.mktemp("keys"), **settings)
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def anna(home: RunningServer) -> str:
    """A key without bounds."""
    return str(apikey(home, "create", "anna")["key"])


def refusal(server: RunningServer, **more: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        dial(server, **more)
    response = refused.value.response
    is_json = "json" in response.headers.get("content-type", "")
    return response.status_code, json.loads(response.body or b"{}") if is_json else {}


@pytest.mark.parametrize("way", ["Authorization", "x-api-key", "bearer.", "openai-insecure-api-key."])
def test_a_key_opens_it_by_every_way_that_there_is(home: RunningServer, anna: str, way: str) -> None:
    more: dict[str, Any] = {"additional_headers": REMOTE}
    if way.endswith("."):
        more["subprotocols"] = [Subprotocol("npuproxy"), Subprotocol(way + anna)]
    else:
        value = f"Bearer {anna}" if way == "Authorization" else anna
        more["additional_headers"] = {**REMOTE, way: value}
    with dial(home, **more) as opened:
        assert opened.subprotocol == ("npuproxy" if way.endswith(".") else None)
        assert text(ask(opened, options=SHORT))
    assert "key=anna" in home.log()
    assert anna not in home.log()


def test_a_browser_that_offers_its_key_alone_is_answered_with_it(home: RunningServer, anna: str) -> None:
    """It would close the connection if none of its subprotocols came back."""
    offered = Subprotocol(f"bearer.{anna}")
    with dial(home, additional_headers=REMOTE, subprotocols=[offered]) as opened:
        assert opened.subprotocol == offered


def test_without_a_key_the_handshake_is_a_401_that_says_why(home: RunningServer) -> None:
    status, body = refusal(home, additional_headers=REMOTE)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert "apikey create" in body["error"]["message"]
    wrong = [Subprotocol("npuproxy"), Subprotocol("bearer.npk_" + "x" * 43)]
    status, body = refusal(home, additional_headers=REMOTE, subprotocols=wrong)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert "not known here" in body["error"]["message"]


def test_from_another_address_it_needs_a_key_too(home: RunningServer, anna: str) -> None:
    """Over an interface that is not loopback, without any header of a proxy."""
    own = own_address()
    url = f"ws://{own}:{home.port}/v1/stream/ws"
    with pytest.raises(InvalidStatus, match="401"):
        connect(url, proxy=None)
    with connect(url, proxy=None, additional_headers={"x-api-key": anna}) as opened:
        assert text(ask(opened, options=SHORT))


def test_a_key_that_is_revoked_ends_on_connections_that_are_open(home: RunningServer) -> None:
    key = apikey(home, "create", "leaver")["key"]
    with dial(home, additional_headers={**REMOTE, "x-api-key": key}) as opened:
        assert text(ask(opened, options=SHORT))
        apikey(home, "revoke", "leaver")
        deadline = time.monotonic() + 30
        last = ask(opened, options=SHORT)[-1]
        while "error" not in last and time.monotonic() < deadline:
            time.sleep(0.1)
            last = ask(opened, options=SHORT)[-1]
    assert last["code"] == "invalid_api_key"
    assert last["error"] == "this API key is revoked"
    assert refusal(home, additional_headers={"x-api-key": key})[0] == 401


def test_the_bounds_of_a_key_hold_for_every_request(home: RunningServer) -> None:
    key = apikey(home, "create", "bounded", "--models", "all-mini*")["key"]
    with dial(home, additional_headers={**REMOTE, "x-api-key": key}) as opened:
        (error,) = ask(opened, options=SHORT)
    assert error["code"] == "not_allowed"
    assert "does not allow the model 'demo'" in error["error"]
    few = apikey(home, "create", "few", "--requests-per-minute", "3")["key"]
    with dial(home, additional_headers={**REMOTE, "x-api-key": few}) as opened:
        found = [ask(opened, f"r{number}", options=SHORT)[-1] for number in range(3)]
    assert [last.get("code") for last in found] == [None, None, "rate_limit_exceeded"]
    assert "its 3 requests of this minute" in found[-1]["error"]


def test_tokens_are_counted_for_the_key(home: RunningServer) -> None:
    key = apikey(home, "create", "frugal", "--tokens-per-minute", "8")["key"]
    with dial(home, additional_headers={**REMOTE, "x-api-key": key}) as opened:
        assert text(ask(opened, options=SHORT))
        assert ask(opened, options=SHORT)[-1]["code"] == "rate_limit_exceeded"


def test_a_page_of_another_origin_is_refused_and_an_app_of_this_machine_is_not(home: RunningServer) -> None:
    for origin in ("https://evil.test", "null", "http://localhost.evil.test"):
        assert refusal(home, additional_headers={"Origin": origin})[0] == 403, origin
    with (
        socket.create_connection(("127.0.0.1", home.port)) as sock,
        pytest.raises(InvalidStatus, match="403"),
    ):
        connect("ws://evil.test/v1/stream/ws", sock=sock, proxy=None)
    for origin in ("http://localhost:3000", "app://obsidian.md", "file://", home.url):
        with dial(home, additional_headers={"Origin": origin}) as opened:
            assert text(ask(opened, options=SHORT)), origin


def test_only_this_path_is_a_web_socket_and_it_is_nothing_else(home: RunningServer) -> None:
    for path in ("/v1/stream/ws/", "/v1/stream/ws;x", "//localhost/v1/stream/ws", "/api/chat", "/status"):
        assert refusal(home, path=path)[0] in (404, 405), path
    plain = httpx.get(f"{home.url}/v1/stream/ws", trust_env=False, timeout=30)
    assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in plain.json()["error"]["message"]
    assert httpx.post(f"{home.url}/v1/stream/ws", trust_env=False, timeout=30).status_code == 405


def test_a_message_that_is_too_long_is_closed_with_1009(home: RunningServer) -> None:
    with dial(home) as socket:
        frame = b"\x81\xff" + (2_000_000).to_bytes(8, "big") + bytes(4)
        socket.socket.sendall(frame + b"x" * 2_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            receive(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert "exceeds payload limit of 1048576" in closed.value.rcvd.reason
    with dial(home) as socket:
        assert text(ask(socket, options=SHORT))


@pytest.mark.parametrize(
    "fields",
    [
        "Sec-WebSocket-Version: 8000\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a, a\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: \xe4\r\n",
    ],
    ids=["version", "no key", "twice", "not ASCII"],
)
def test_a_handshake_that_is_none_is_a_400_with_a_reason(home: RunningServer, fields: str) -> None:
    head = "GET /v1/stream/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    with socket.create_connection(("127.0.0.1", home.port), timeout=30) as connection:
        connection.sendall((head + fields + "\r\n").encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert "Traceback" not in home.log()


def test_over_tls_it_is_wss(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    arguments = ["--tls-cert", str(cert), "--tls-key", str(key)]
    server = start_server(tmp_path, arguments)
    context = ssl.create_default_context(cafile=authority.path)
    try:
        server.wait_until_ready()
        assert server.url.startswith("https://")
        assert refusal(server, ssl=context, additional_headers=REMOTE)[0] == 401
        with dial(server, ssl=context) as opened:
            answer = ask(opened, options={"temperature": 0})
            assert text(answer)
            assert answer[-1]["finish_reason"] == "stop"
            assert opened.ping().wait(30)
    finally:
        server.stop()
