"""Bodies that are too large, or grow when they are read: refused in words, while the memory stays flat."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import httpx
import psutil
import pytest
import zstandard
from conftest import RunningServer, start_server

from compat_api.encoded_body import MAX_PARTS

MB = 1024 * 1024
SENT = 600 * MB
FLAT = 64 * MB
"""What the server process may grow by, whatever is sent."""
PART = b"0" * MB
TURN = {"role": "user", "content": "hello"}
PATHS = ("/api/chat", "/v1/chat/completions", "/v1/messages")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("bombed"))
    try:
        running.wait_until_ready()
        for path in PATHS:  # what is made once is made before
            assert ask(running, path, json.dumps(chat()).encode()).status_code == 200
        yield running
    finally:
        running.stop()


def chat(**fields: Any) -> dict[str, Any]:
    few = {"max_tokens": 2, "options": {"num_predict": 2}, "stream": False}
    return {"model": "demo", "messages": [TURN], **few, **fields}


def ask(server: RunningServer, path: str, body: bytes, **headers: str) -> httpx.Response:
    return httpx.post(server.url + path, content=body, headers=headers, timeout=60)


@contextmanager
def flat(server: RunningServer, most: int = FLAT) -> Iterator[None]:
    """Fails when the server process was larger by more than `most`, at any moment in between or afterwards."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    seen, over = [before], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert (max(seen) - before) / MB < most / MB


def pour(server: RunningServer, path: str, head: str, part: bytes) -> tuple[int, bytes]:
    """600 MB behind that head, or as many of them as the server takes; its answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        with suppress(OSError):  # it has heard enough
            for _ in range(SENT // MB):
                connection.sendall(part)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


ANNOUNCED = f"Content-Length: {SENT}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%b\r\n" % (MB, PART)


@pytest.mark.parametrize(
    ("path", "head", "part"),
    [
        *((path, ANNOUNCED, PART) for path in PATHS),
        ("/api/chat", CHUNKED, CHUNK),
        ("/v1/messages", f"{CHUNKED}\r\nContent-Encoding: gzip", CHUNK),
    ],
    ids=[*(f"announced {path}" for path in PATHS), "chunked", "chunked and encoded"],
)
def test_600_mb_are_refused_while_they_arrive(
    target: RunningServer, path: str, head: str, part: bytes
) -> None:
    with flat(target):
        status, body = pour(target, path, head, part)
    assert status == 413
    assert "NPU_PROXY_MAX_BODY" in json.dumps(json.loads(body)["error"])


def zeros(compress: Any) -> bytes:
    """600 MB of them, in less than one."""
    parts = [compress.compress(PART) for _ in range(SENT // MB)]
    return b"".join([*parts, compress.flush()])


@cache
def gzip_zeros() -> bytes:
    return zeros(zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS))


BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip": gzip_zeros,
    "zstd": lambda: zeros(zstandard.ZstdCompressor(level=1).compressobj()),
}


@pytest.mark.parametrize("encoding", BOMBS)
def test_600_mb_in_a_small_body_are_refused(target: RunningServer, encoding: str) -> None:
    body = BOMBS[encoding]()
    assert len(body) < 3 * MB
    with flat(target):
        answers = [ask(target, path, body, **{"Content-Encoding": encoding}) for path in PATHS]
    assert [answer.status_code for answer in answers] == [413] * len(PATHS)
    native, openai, anthropic = (answer.json() for answer in answers)
    assert "when decompressed" in native["error"]
    assert openai["error"]["type"] == "api_error"
    assert anthropic["error"]["type"] == "request_too_large"
    assert "when decompressed" in anthropic["error"]["message"]


def many_parts(encoding: str) -> bytes:
    """20 MB, the most that is received, in the smallest parts there are."""
    part = gzip.compress(b"", mtime=0) if encoding == "gzip" else zstandard.compress(b"")
    return part * (18 * MB // len(part))


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_million_empty_parts_are_refused(target: RunningServer, encoding: str) -> None:
    body = many_parts(encoding)
    with flat(target, most=FLAT + 4 * len(body)):
        answer = ask(target, "/api/chat", body, **{"Content-Encoding": encoding})
    assert answer.status_code == 400
    assert f"more than {MAX_PARTS} parts of {encoding}" in answer.json()["error"]


def test_an_encoding_inside_of_an_encoding_is_not_followed(target: RunningServer) -> None:
    body = gzip.compress(gzip_zeros())
    with flat(target):
        answer = ask(target, "/api/chat", body, **{"Content-Encoding": "gzip, gzip"})
        nested = ask(target, "/api/chat", body, **{"Content-Encoding": "gzip"})
    assert (answer.status_code, nested.status_code) == (400, 400)


def deep(levels: int, opening: bytes, closing: bytes, place: bytes) -> bytes:
    return b'{"model":"demo","max_tokens":2,"messages":[{"role":"user","content":"a"}],%b:%b1%b}' % (
        place,
        opening * levels,
        closing * levels,
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("place", [b'"x"', b'"options"', b'"format"', b'"tools"', b'"system"', b'"messages"'])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")])
def test_100_000_levels_are_refused(
    target: RunningServer, path: str, place: bytes, opening: bytes, closing: bytes
) -> None:
    with flat(target):
        answer = ask(target, path, deep(100_000, opening, closing, place))
    assert answer.status_code == 400, answer.text


def text_body(content: bytes) -> bytes:
    return b'{"model":"demo","max_tokens":2,"messages":[{"role":"user","content":"%b"}]}' % content


LARGE: dict[str, Callable[[], bytes]] = {
    "a number of 20 MB": lambda: deep(0, b"", b"", b'"temperature"')[:-2] + b"9" * (20 * MB) + b"}",
    "10 MB of escapes": lambda: text_body(b"\\u0041" * (10 * MB // 6)),
    "10 MB of half surrogate pairs": lambda: text_body(b"\\ud800" * (10 * MB // 6)),
    "10 MB that are no UTF-8": lambda: text_body(b"\xff" * (10 * MB)),
    "300,000 options": lambda: json.dumps(chat(options={str(n): n for n in range(300_000)})).encode(),
    "100,000 messages": lambda: json.dumps(chat(messages=[TURN] * 100_000)).encode(),
    "300,000 empty messages": lambda: (
        b'{"model":"demo","max_tokens":2,"messages":[' + b"{}," * 300_000 + b"{}]}"
    ),
    "100,000 stop strings": lambda: json.dumps(
        chat(stop=["a"] * 100_000, stop_sequences=["a"] * 100_000, options={"stop": ["a"] * 100_000})
    ).encode(),
    "no JSON": lambda: b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 100_000,
    "20 MB of nothing": lambda: b" " * (20 * MB),
}
"""Within the limit of a body: what they cost is some times their size, and is given back."""


@pytest.mark.parametrize("what", LARGE)
def test_what_is_large_inside_of_the_limit_is_refused_and_forgotten(target: RunningServer, what: str) -> None:
    body = LARGE[what]()
    with flat(target, most=FLAT + 20 * len(body)):
        answer = ask(target, "/api/chat", body)
    if what == "a number of 20 MB":
        assert answer.status_code == 200, "a field that is not Ollama's"
        answer = ask(target, "/v1/chat/completions", body)
    assert answer.status_code == 400, answer.text
    assert len(answer.content) < 10_000


def schema_of(properties: int) -> dict[str, Any]:
    words = {"type": "string", "description": "x" * 80}
    return {"type": "object", "properties": {f"p{index}": words for index in range(properties)}}


def doubling(length: int) -> dict[str, Any]:
    """A few kilobytes that hold 2**length places."""
    parts: dict[str, Any] = {"a0": {"type": "string"}}
    for index in range(1, length):
        before = {"$ref": f"#/$defs/a{index - 1}"}
        parts[f"a{index}"] = {"type": "object", "properties": {"l": before, "r": before}}
    return {"$defs": parts, "$ref": f"#/$defs/a{length - 1}"}


def alternatives(length: int) -> dict[str, Any]:
    """The same with alternatives, which are written out where they stand."""
    parts: dict[str, Any] = {"a0": {"type": "string"}}
    for index in range(1, length):
        before = {"$ref": f"#/$defs/a{index - 1}"}
        parts[f"a{index}"] = {"title": "x", "anyOf": [before, before]}
    return {"$defs": parts, "$ref": f"#/$defs/a{length - 1}"}


@pytest.mark.parametrize(
    ("schema", "statuses"),
    [(schema_of(40_000), {400}), (doubling(200), {200, 400}), (alternatives(60), {400})],
    ids=["5 MB", "doubling references", "doubling alternatives"],
)
def test_a_schema_that_grows_is_answered_in_time(
    target: RunningServer, schema: dict[str, Any], statuses: set[int]
) -> None:
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with flat(target):
        native = ask(target, "/api/chat", json.dumps(chat(format=schema)).encode())
        other = ask(target, "/v1/chat/completions", json.dumps(chat(response_format=wrapped)).encode())
    assert {native.status_code, other.status_code} <= statuses, native.text


def test_10_000_tools_are_refused(target: RunningServer) -> None:
    tools = [
        {"type": "function", "function": {"name": f"f{index}", "parameters": {"type": "object"}}}
        for index in range(10_000)
    ]
    with flat(target, most=256 * MB):  # the prompt that names them all is made, and counted
        answer = ask(target, "/api/chat", json.dumps(chat(tools=tools)).encode())
    assert answer.status_code == 400
    assert "context length" in answer.text


def test_the_next_request_is_answered(target: RunningServer) -> None:
    for path in PATHS:
        assert ask(target, path, json.dumps(chat()).encode()).status_code == 200
    assert "Traceback" not in target.log()
