"""Errors for Anthropic's clients: on its paths, and on those that its API shares with OpenAI's, told apart by the
header `anthropic-version`."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any

import anthropic
import httpx
import pytest
from conftest import RunningServer
from wire_clients import claude

from compat_api import errors

SPEAKS = {"anthropic-version": "2023-06-01"}
FROM_ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}
MADE_HERE = re.compile(r"req_[0-9a-f]{24}")


def check(answer: httpx.Response, status: int, kind: str) -> None:
    """Anthropic's envelope, and the one id in it and in the header."""
    fault = answer.json()
    assert (answer.status_code, fault["type"], fault["error"]["type"]) == (status, "error", kind)
    assert set(fault["error"]) == {"type", "message"}
    assert MADE_HERE.fullmatch(fault["request_id"])
    assert fault["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


ROUTES: tuple[tuple[str, str, int, str], ...] = (
    ("GET", "/v1/models/nope", 404, "not_found_error"),
    ("GET", "/v1/models/nope%2Fnot", 404, "not_found_error"),
    ("PUT", "/v1/models", 405, "api_error"),
    ("DELETE", "/v1/models/nope", 405, "api_error"),
    ("GET", "/v1/files", 404, "not_found_error"),
    ("POST", "/v1/messages/batches", 404, "not_found_error"),
    ("GET", "/v1//models", 404, "not_found_error"),
    ("GET", "/v1/messages", 405, "api_error"),
    ("GET", "/v1/messages/count_tokens", 405, "api_error"),
)


@pytest.mark.parametrize(("method", "path", "status", "kind"), ROUTES)
def test_a_path_is_answered_in_its_shape(
    server: RunningServer, method: str, path: str, status: int, kind: str
) -> None:
    for body in (b"", b" " * 128 * 1024):  # a long one is judged before it is received
        check(httpx.request(method, server.url + path, headers=SPEAKS, content=body), status, kind)
    bare = httpx.request(method, server.url + path)
    if path.startswith("/v1/messages"):
        check(bare, status, kind)
    else:
        assert bare.status_code == status
        assert set(bare.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/demo", "/v1/messages"])
def test_whoever_needs_a_key_is_told_so_in_its_shape(server: RunningServer, path: str) -> None:
    method = "POST" if path == "/v1/messages" else "GET"
    answer = httpx.request(method, server.url + path, headers={**SPEAKS, **FROM_ELSEWHERE})
    check(answer, 401, "authentication_error")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/tokenize"])
def test_what_is_openais_alone_stays_openais(server: RunningServer, path: str) -> None:
    for method, status in (("POST", 400), ("GET", 405)):
        answer = httpx.request(method, server.url + path, headers=SPEAKS)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("path", "headers"), [("/v1/messages?beta=true", {}), ("/v1/messages", {}), ("/v1/files", SPEAKS)]
)
def test_a_body_that_is_too_large_is_refused_in_its_shape(
    server: RunningServer, path: str, headers: dict[str, str]
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", path)
    for name, value in {**headers, "Content-Length": str(10**9)}.items():
        connection.putheader(name, value)
    connection.endheaders(b"{")
    answer = connection.getresponse()
    whole = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    connection.close()
    if path == "/v1/files":
        check(whole, 404, "not_found_error")
    else:
        check(whole, 413, "request_too_large")


def test_the_client_shows_the_id(server: RunningServer) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude(server.url).models.retrieve("nope")
    body: Any = caught.value.body
    assert caught.value.request_id == body["request_id"]
    assert "nope" in body["error"]["message"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "api_error"),
        (408, "api_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_each_status_has_a_type(status: int, kind: str) -> None:
    fault = json.loads(errors.envelope("anthropic", status, "no", request_id="req_1"))
    assert fault == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_1"}
