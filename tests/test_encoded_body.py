"""Compressed request bodies: what is accepted, what is refused, and that a bomb stays small."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
import zstandard
from conftest import RunningServer

from compat_api.encoded_body import MAX_PLAIN_BYTES, plain
from inference.errors import BadRequest

ZSTD = [(b"content-encoding", b"zstd")]


def test_a_zstd_body_comes_back_and_a_plain_one_is_left_alone() -> None:
    body = b'{"a": 1}' * 100
    assert plain(zstandard.compress(body), ZSTD, "openai") == body
    assert plain(body, [], "ollama") == body
    assert plain(body, [(b"content-encoding", b"identity")], "openai") == body


@pytest.mark.parametrize(
    ("body", "encoding", "dialect"),
    [
        (zstandard.compress(b"{}"), b"zstd", "ollama"),
        (b"{}", b"gzip", "openai"),
        (b"not zstd at all", b"zstd", "openai"),
        (zstandard.compress(b"0" * (MAX_PLAIN_BYTES + 1)), b"zstd", "openai"),
    ],
)
def test_other_encodings_broken_bodies_and_bombs_are_refused(
    body: bytes, encoding: bytes, dialect: str
) -> None:
    with pytest.raises(BadRequest, match="Content-Encoding"):
        plain(body, [(b"content-encoding", encoding)], dialect)


def post(server: RunningServer, body: bytes) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{server.url}/v1/chat/completions", body, {"Content-Encoding": "zstd"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_server_reads_a_zstd_body(server: RunningServer) -> None:
    question = {"model": "demo", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    status, answer = post(server, zstandard.compress(json.dumps(question).encode()))
    assert (status, answer["object"]) == (200, "chat.completion")
    status, answer = post(server, b"broken")
    assert status == 400
    assert "Content-Encoding" in answer["error"]["message"]
