"""HEAD and POST /api/blobs: files of any size go to disk, and only what has its digest stays."""

from __future__ import annotations

import hashlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import RunningServer, Serve
from modelfiles import DEMO

MB = 1024 * 1024


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def post(server: RunningServer, name: str, content: bytes | Iterator[bytes]) -> httpx.Response:
    return httpx.post(f"{server.url}/api/blobs/{name}", content=content, timeout=120)


def status_of(server: RunningServer, name: str) -> int:
    answer = httpx.head(f"{server.url}/api/blobs/{name}")
    assert answer.content == b""
    return answer.status_code


def blobs(server: RunningServer) -> Path:
    return server.data_dir / "models" / ".blobs"


def until_nothing_is_half(server: RunningServer) -> None:
    ends = time.monotonic() + 30
    while left := list(blobs(server).glob("*.part")):
        assert time.monotonic() < ends, left
        time.sleep(0.05)


@pytest.mark.loop
def test_a_file_is_there_once_it_was_sent(server: RunningServer) -> None:
    content = b"some weights"
    name = digest(content)
    assert status_of(server, name) == 404
    answers = [post(server, name, content) for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(201, b""), (200, b"")]
    assert status_of(server, name) == status_of(server, name.replace(":", "-")) == 200
    assert post(server, digest(b""), b"").status_code == 201, "an empty file is one too"


def test_a_file_without_a_length_arrives(server: RunningServer) -> None:
    parts = [bytes([number]) * MB for number in range(5)]
    assert post(server, digest(b"".join(parts)), iter(parts)).status_code == 201


def test_a_file_of_an_installed_model_is_there(server: RunningServer) -> None:
    content = (DEMO / "config.json").read_bytes()
    assert status_of(server, digest(content)) == 200
    assert post(server, digest(content), content).status_code == 200


def test_a_file_that_is_another_one_is_refused_and_leaves_nothing(server: RunningServer) -> None:
    wanted, sent = digest(b"wanted"), b"sent"
    answer = post(server, wanted, sent)
    assert answer.status_code == 400
    assert answer.json() == {"error": f'digest mismatch, expected "{wanted}", got "{digest(sent)}"'}
    assert status_of(server, wanted) == status_of(server, digest(sent)) == 404
    until_nothing_is_half(server)


@pytest.mark.parametrize(
    "name", ["x", "sha256:" + "z" * 64, "sha256:" + "0" * 63, "md5:" + "0" * 64, "a%2Fsha256:" + "0" * 64]
)
def test_what_is_no_digest_is_refused(server: RunningServer, name: str) -> None:
    answer = post(server, name, b"x")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid digest format"})
    assert status_of(server, name) == 400


def test_no_path_leads_out_of_the_folder(server: RunningServer) -> None:
    before = set(blobs(server).parent.rglob("*"))
    for path in (
        "/api/blobs/%2e%2e%2f%2e%2e%2fevil",
        "/api/blobs/..%2Fevil",
        "/api/blobs/sha256:%2fetc%2fpasswd",
    ):
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".encode())
            assert client.recv(4096).split()[1] in (b"400", b"404")
    until_nothing_is_half(server)
    assert set(blobs(server).parent.rglob("*")) == before


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: RunningServer) -> None:
    name = "sha256:" + "0" * 64
    head = f"POST /api/blobs/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {8 * MB}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(head.encode() + bytes(5 * MB))
        ends = time.monotonic() + 30
        while not list(blobs(server).glob("*.part")):
            assert time.monotonic() < ends
            time.sleep(0.02)
    until_nothing_is_half(server)
    assert status_of(server, name) == 404


def test_a_file_larger_than_what_the_server_may_hold_goes_through_in_little_memory(
    server: RunningServer,
) -> None:
    block, count = b"\x5a" * MB, 300
    sha256 = hashlib.sha256()
    for _ in range(count):
        sha256.update(block)
    name = f"sha256:{sha256.hexdigest()}"
    process = psutil.Process(server.process.pid)
    before, seen, over = process.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen[0] = max(seen[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        length = {"Content-Length": str(count * MB)}
        connection.request("POST", f"/api/blobs/{name}", (block for _ in range(count)), length)
        assert connection.getresponse().status == 201
    finally:
        over.set()
        watcher.join()
        connection.close()
    assert seen[0] - before < 64 * MB, f"{(seen[0] - before) / MB:.0f} MB more than before"
    kept = blobs(server) / name.replace(":", "-")
    assert kept.stat().st_size == count * MB
    kept.unlink()


def test_a_file_beyond_the_limit_is_refused_by_its_length_or_as_it_arrives(serve: Serve) -> None:
    server = serve(NPU_PROXY_MAX_UPLOAD=str(2 * MB))
    content = bytes(3 * MB)
    for body in (content, iter([content[:MB], content[MB:]])):
        answer = post(server, digest(content), body)
        assert answer.status_code == 413
        assert "NPU_PROXY_MAX_UPLOAD sets the limit" in answer.json()["error"]
    assert post(server, digest(content[:MB]), content[:MB]).status_code == 201
    until_nothing_is_half(server)
