"""Compressed request bodies: what is accepted, what is refused, and that a bomb stays small."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from conftest import RunningServer

from compat_api.encoded_body import MAX_PARTS, MAX_PLAIN_BYTES, encoding_of, plain
from compat_api.refusals import BodyTooLarge
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
        (gzip.compress(b"{}" * 100, mtime=0)[:-9], b"gzip"),
        (b"not zstd at all", b"zstd"),
        (zstandard.compress(b"{}" * 100)[:-1], b"zstd"),
        (gzip.compress(b"{}", mtime=0) + b"{}", b"gzip"),
        (gzip.compress(b"{}", mtime=0) + gzip.compress(b"{}", mtime=0)[:-1], b"gzip"),
        (gzip.compress(b"{}", mtime=0) + bytes(10), b"gzip"),
        (zstandard.compress(b"{}") + b"{}", b"zstd"),
        (zstandard.compress(b"{}") + b"garbage that is longer than a head", b"zstd"),
        (zstandard.compress(b"{}") + zstandard.compress(b"{}")[:-1], b"zstd"),
        (gzip.compress(b"", mtime=0) * (MAX_PARTS + 1), b"gzip"),
    ],
)
def test_other_encodings_broken_bodies_and_garbage_are_refused(body: bytes, encoding: bytes) -> None:
    with pytest.raises(BadRequest, match="Content-Encoding"):
        plain(body, encoding)


@pytest.mark.parametrize("encoding", ENCODED)
def test_what_is_too_large_when_it_is_plain_is_refused(encoding: str) -> None:
    encode = ENCODED[encoding]
    most = b"0" * MAX_PLAIN_BYTES
    assert plain(encode(most), encoding.encode()) == most
    for body in (encode(most + b"0"), encode(most) + encode(b"0")):
        with pytest.raises(BodyTooLarge, match="more than 20971520 bytes when decompressed"):
            plain(body, encoding.encode())


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("length", [0, 1, 511, 70_000])
def test_several_parts_in_a_row_are_one_body(encoding: str, length: int) -> None:
    pieces = [b"[", os.urandom(length), b"", b"]"]
    body = b"".join(ENCODED[encoding](piece) for piece in pieces)
    assert plain(body, encoding.encode()) == b"".join(pieces)


def test_a_frame_of_zstd_that_is_to_be_skipped_is_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
    assert plain(skipped + zstandard.compress(b"{}") + skipped, b"zstd") == b"{}"


def post(server: RunningServer, path: str, encoding: str, body: bytes) -> tuple[int, dict[str, Any]]:
    method = "DELETE" if path == "/api/delete" else "POST"
    headers = {"Content-Encoding": encoding}
    request = urllib.request.Request(f"{server.url}{path}", body, headers, method=method)
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


OTHERS: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    ("/api/show", {"model": "nope-at-all"}, 404, "'nope-at-all:latest' not found"),
    ("/api/delete", {"model": "nope-at-all"}, 404, "'nope-at-all' not found"),
    ("/api/copy", {"source": "nope-at-all", "destination": "b"}, 404, '"nope-at-all" not found'),
    ("/api/create", {"model": "b", "from": "nope-at-all", "stream": False}, 404, "nope-at-all"),
    ("/api/pull", {"model": "nope-at-all:never", "insecure": 4}, 400, "PullRequest.insecure"),
    ("/efficiency", {"mode": "nope-at-all"}, 400, "nope-at-all"),
    ("/v1/tokenize", {"model": "nope-at-all", "prompt": "a"}, 404, "nope-at-all"),
)
"""Each is answered by what its body says."""


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize(("path", "body", "status", "words"), OTHERS, ids=[path for path, *_ in OTHERS])
def test_every_body_of_json_may_be_encoded(
    server: RunningServer, path: str, body: dict[str, Any], status: int, words: str, encoding: str
) -> None:
    answered, answer = post(server, path, encoding, ENCODED[encoding](json.dumps(body).encode()))
    assert answered == status, answer
    assert words in json.dumps(answer["error"]).replace('\\"', '"')
    answered, answer = post(server, path, encoding, ENCODED[encoding](b" " * (MAX_PLAIN_BYTES + 1)))
    assert answered == 413, answer


def test_a_file_is_kept_as_it_was_sent(server: RunningServer) -> None:
    sent = gzip.compress(os.urandom(100))
    address = f"{server.url}/api/blobs/sha256:{hashlib.sha256(sent).hexdigest()}"
    request = urllib.request.Request(address, sent, {"Content-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 201
