"""Compressed request bodies: what is accepted, what is refused, and that a bomb stays small."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from conftest import RunningServer

from compat_api.encoded_body import MAX_PLAIN_BYTES, encoding_of, plain
from inference.errors import BadRequest

ENCODED: dict[str, Callable[[bytes], bytes]] = {"zstd": zstandard.compress, "gzip": gzip.compress}


@pytest.mark.parametrize("encoding", ENCODED)
def test_an_encoded_body_comes_back(encoding: str) -> None:
    body = b'{"a": 1}' * 100
    assert encoding_of([(b"content-encoding", f" {encoding.upper()} ".encode())]) == encoding.encode()
    assert plain(ENCODED[encoding](body), encoding.encode()) == body


def test_a_plain_body_has_no_encoding() -> None:
    assert encoding_of([]) == encoding_of([(b"content-encoding", b"identity")]) == b""


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"{}", b"br"),
        (b"{}", b"gzip"),
        (gzip.compress(b"{}" * 100)[:-9], b"gzip"),
        (b"not zstd at all", b"zstd"),
        (zstandard.compress(b"0" * (MAX_PLAIN_BYTES + 1)), b"zstd"),
        (gzip.compress(b"0" * (MAX_PLAIN_BYTES + 1)), b"gzip"),
    ],
)
def test_other_encodings_broken_bodies_and_bombs_are_refused(body: bytes, encoding: bytes) -> None:
    with pytest.raises(BadRequest, match="Content-Encoding"):
        plain(body, encoding)


def post(server: RunningServer, path: str, encoding: str, body: bytes) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{server.url}{path}", body, {"Content-Encoding": encoding})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_the_server_reads_an_encoded_body(server: RunningServer, path: str, encoding: str) -> None:
    turn = {"role": "user", "content": "hello"}
    question = {"model": "demo", "max_tokens": 5, "stream": False, "messages": [turn]}
    status, answer = post(server, path, encoding, ENCODED[encoding](json.dumps(question).encode()))
    assert (status, answer["model"]) == (200, "demo")
    status, answer = post(server, path, encoding, b"broken")
    assert status == 400
    assert "Content-Encoding" in json.dumps(answer["error"])
