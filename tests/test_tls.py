"""HTTPS and mTLS with real certificates, over HTTP and WebSocket; and what the start says of a wrong file."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import test_page_headers as page_headers
from certificates import Authority
from conftest import LOOPS, ROOT, RunningServer, Serve, environment, start_server

from npuproxy import tls
from npuproxy.env import ConfigurationError
from npuproxy.tls_files import Files

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "Count."}], "options": {"num_predict": 64}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Secured(NamedTuple):
    """A server, and what a client needs to trust it."""

    server: RunningServer
    context: ssl.SSLContext
    cert: Path
    key: Path

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=60)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")


def trusting(authority: Authority, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.path)
    if certificate:
        context.load_cert_chain(*certificate)
    return context


@pytest.fixture(scope="module", params=LOOPS)
def secured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """An HTTPS server that the tests share, on each event loop."""
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder)
    cert, key = authority.issue("server")
    arguments = ["--tls-cert", str(cert), "--tls-key", str(key)]
    loop = str(request.param)
    server = start_server(folder, arguments, NPU_PROXY_EVENT_LOOP=loop, NPU_PROXY_MAX_BODY="1MB")
    try:
        yield Secured(server.wait_until_ready(), trusting(authority), cert, key)
    finally:
        server.stop()


def test_https_carries_whole_answers_streams_and_refusals(secured: Secured) -> None:
    url = secured.server.url
    assert url.startswith("https://127.0.0.1:")
    with httpx.Client(base_url=url, verify=secured.context, trust_env=False, timeout=60) as client:
        assert client.get("/").text == "Ollama is running"
        with client.stream("POST", "/api/chat", json=CHAT) as answer:
            frames = [json.loads(line) for line in answer.iter_lines()]
        assert [frame["done"] for frame in frames] == [False] * (len(frames) - 1) + [True]
        whole = client.post("/api/chat", json={**CHAT, "stream": False}).json()
        assert whole["message"]["content"] == "".join(frame["message"]["content"] for frame in frames)
        refused = client.post("/api/chat", content=b"x" * 3_000_000)
        assert (refused.status_code, "NPU_PROXY_MAX_BODY" in refused.json()["error"]) == (413, True)
        assert client.get("/api/tags", headers={"Host": "evil.test"}).status_code == 403
        assert "Secure" in client.get("/admin/login/").headers["set-cookie"]


def test_pages_over_https_have_their_headers_and_cookies_that_stay_there(secured: Secured) -> None:
    with httpx.Client(
        base_url=secured.server.url, verify=secured.context, trust_env=False, timeout=60
    ) as client:
        page_headers.hold(client, secure=True)


def test_a_slow_reader_of_https_gets_every_byte(secured: Secured) -> None:
    """More than any buffer holds: the answer waits for its reader and comes whole."""
    body = json.dumps({"model": "all-minilm", "input": ["word"] * 400}).encode()
    head = (
        f"POST /api/embed HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    )
    with secured.connect() as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(1024), b""))
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["embeddings"]) == 400


def test_a_web_socket_upgrade_over_https_passes_the_gate(secured: Secured) -> None:
    upgrade = (
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    head = f"GET /v1/none HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n{upgrade}\r\n"
    with secured.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_plain_http_finds_no_answer_on_an_https_port(secured: Secured) -> None:
    with socket.create_connection(("127.0.0.1", secured.server.port), timeout=30) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not plain.recv(65536).startswith(b"HTTP")
    answer = httpx.get(secured.server.url, verify=secured.context, trust_env=False, timeout=30)
    assert answer.status_code == 200


def test_commands_find_the_server_behind_its_certificate(secured: Secured) -> None:
    data_dir = secured.server.data_dir
    variables = {"NPU_PROXY_TLS_CERT": str(secured.cert), "NPU_PROXY_TLS_KEY": str(secured.key)}
    done = subprocess.run(
        [sys.executable, "manage.py", "warmup", "demo", "--device", "CPU", "--json"],
        cwd=ROOT,
        env=environment(data_dir.parent / "home", NPU_PROXY_DATA_DIR=str(data_dir), **variables),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "No server is running" not in done.stderr


def test_a_client_without_a_certificate_is_refused_under_mtls(serve: Serve, authority: Authority) -> None:
    cert, key = authority.issue("server")
    server = serve(
        NPU_PROXY_TLS_CERT=str(cert), NPU_PROXY_TLS_KEY=str(key), NPU_PROXY_TLS_CLIENT_CA=str(authority.path)
    )
    other = Authority(authority.path.parent, "other")
    for stranger in (
        None,
        other.issue("stranger", client=True),
        authority.issue("old", client=True, days=-1),
    ):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/", verify=trusting(authority, stranger), trust_env=False, timeout=30)
    friend = trusting(authority, authority.issue("friend", client=True))
    assert httpx.get(f"{server.url}/", verify=friend, trust_env=False, timeout=30).status_code == 200
    proxied = {"X-Forwarded-For": "192.0.2.1"}
    tags = httpx.get(f"{server.url}/api/tags", verify=friend, trust_env=False, timeout=30, headers=proxied)
    assert tags.status_code == 401, "a certificate is no key"


# --- Wrong files ----------------------------------------------------------------------------------------


def fault(files: Files) -> str:
    with pytest.raises(ConfigurationError) as raised:
        tls.connections(files)
    return str(raised.value)


def test_each_wrong_file_is_named_with_its_variable(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("server")
    _, other = authority.issue("other")
    _, locked = authority.issue("locked", passphrase="secret")
    words = tmp_path / "words.pem"
    words.write_text("no PEM at all")
    missing = tmp_path / "missing.pem"
    alone = "is set without NPU_PROXY_TLS_CERT; give both, or neither for plain HTTP"
    table = [
        (Files(missing, key), f"NPU_PROXY_TLS_CERT: {missing} cannot be read (No such file or directory)"),
        (Files(tmp_path, key), f"NPU_PROXY_TLS_CERT: {tmp_path} cannot be read (Is a directory)"),
        (Files(words, key), f"NPU_PROXY_TLS_CERT: {words} holds no certificate in PEM format"),
        (Files(key, key), f"NPU_PROXY_TLS_CERT: {key} holds no certificate in PEM format"),
        (Files(cert, missing), f"NPU_PROXY_TLS_KEY: {missing} cannot be read (No such file or directory)"),
        (Files(cert, cert), f"NPU_PROXY_TLS_KEY: {cert} holds no private key in PEM format"),
        (
            Files(cert),
            f"NPU_PROXY_TLS_CERT: {cert} holds no private key in PEM format; "
            "NPU_PROXY_TLS_KEY names the file that has it",
        ),
        (
            Files(cert, other),
            f"NPU_PROXY_TLS_KEY: the key in {other} is not that of the certificate in {cert}",
        ),
        (Files(cert, locked), f"NPU_PROXY_TLS_KEY: the key in {locked} has a passphrase; give one without"),
        (Files(cert, key, words), f"NPU_PROXY_TLS_CLIENT_CA: {words} holds no certificate in PEM format"),
        (
            Files(None, key),
            "NPU_PROXY_TLS_KEY: is set without NPU_PROXY_TLS_CERT; give both, or neither for plain HTTP",
        ),
        (Files(None, None, cert), f"NPU_PROXY_TLS_CLIENT_CA: {alone}"),
    ]
    assert [fault(files) for files, _ in table] == [message for _, message in table]


def test_one_file_may_hold_certificate_and_key(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("server")
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    assert tls.connections(Files(both)) is not None
    assert tls.connections(Files()) is None


def test_an_expired_certificate_is_told_and_served(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.issue("server", days=-1)
    assert tls.connections(Files(cert, key)) is not None
    assert "has expired on" in caplog.text


def test_a_wrong_file_ends_the_start_with_one_line(tmp_path: Path) -> None:
    """Who asks for TLS must not get plain HTTP."""
    result = subprocess.run(
        [sys.executable, "manage.py", "serve", "--tls-cert", str(tmp_path / "cert.pem")],
        cwd=ROOT,
        env=environment(tmp_path, NPU_PROXY_DATA_DIR=str(tmp_path / "data"), NPU_PROXY_PORT="0"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("npuproxy: NPU_PROXY_TLS_CERT: ")
    assert len(result.stderr.splitlines()) == 1
