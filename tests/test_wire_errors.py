"""Errors on the wire: status, envelope and words, by table and against the server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compat_api import errors
from compat_api.urls import OPERATIONS
from inference import errors as raised

NAMED = {operation.name: operation for operation in OPERATIONS}


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (raised.BadRequest("no"), 400, {}),
        (raised.CapabilityMissing("no"), 400, {}),
        (raised.InvalidGrammar("no"), 400, {}),
        (raised.ModelNotFound("m"), 404, {}),
        (raised.QueueFull(2.1), 503, {"Retry-After": "3"}),
        (raised.QueueTimeout("late", 0.01), 503, {"Retry-After": "1"}),
        (raised.BreakerOpen("open", 30), 503, {"Retry-After": "30"}),
        (raised.DeviceUnavailable("gone"), 503, {"Retry-After": "1"}),
        (raised.ShuttingDown(), 503, {"Retry-After": "5"}),
        (raised.DeadlineExceeded("late"), 504, {"x-should-retry": "false"}),
        (raised.InferenceTimeout("stuck"), 504, {}),
        (raised.LoadFailed("no"), 500, {}),
        (raised.WorkerDied("gone"), 500, {}),
        (raised.ModelDamaged("m", "a.bin", "is missing"), 500, {}),
        (RuntimeError("/home/me/secret"), 500, {}),
    ],
)
def test_each_error_has_one_status(error: Exception, status: int, headers: dict[str, str]) -> None:
    failure = errors.of(error)
    assert (failure.status, failure.headers) == (status, headers)


def test_what_was_not_raised_on_purpose_says_nothing() -> None:
    assert errors.of(RuntimeError("/home/me/secret")).message == "internal server error"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("chat", "model 'Demo' not found"),
        ("generate", "model 'Demo' not found"),
        ("show", "model 'Demo:latest' not found"),
        ("embed", 'model "Demo" not found, try pulling it first'),
        ("openai.chat", "model 'Demo' not found"),
        ("openai.embeddings", 'model "Demo" not found, try pulling it first'),
    ],
)
def test_a_missing_model_is_told_in_the_words_of_its_endpoint(operation: str, words: str) -> None:
    assert errors.of(raised.ModelNotFound("Demo"), NAMED[operation]).message == words


def test_a_prompt_that_fits_nowhere_has_both_numbers_in_either_dialect() -> None:
    error = raised.ContextLengthExceeded(5000, 4096)
    native = errors.of(error, NAMED["chat"])
    assert native.message.startswith("the input length exceeds the context length")
    assert "5000" in native.message
    assert "4096" in native.message
    other = errors.of(error, NAMED["openai.chat"])
    assert other.code == "context_length_exceeded"
    assert "maximum context length is 4096 tokens" in other.message
    assert "resulted in 5000 tokens" in other.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (404, "not_found_error"), (413, "api_error"), (503, "api_error")],
)
def test_openai_has_an_object(status: int, kind: str) -> None:
    sent, headers, body = errors.render("openai", status, "no", code="c")
    assert sent == status
    assert dict(headers) == {b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
    assert json.loads(body) == {"error": {"message": "no", "type": kind, "param": None, "code": "c"}}


def test_ollama_has_a_string() -> None:
    _, headers, body = errors.render("ollama", 400, "no")
    assert dict(headers)[b"content-type"] == b"application/json; charset=utf-8"
    assert body == b'{"error":"no"}'


def test_a_head_request_gets_the_length_and_no_body() -> None:
    _, headers, body = errors.render("ollama", 400, "no", head=True)
    assert dict(headers)[b"content-length"] == b"14"
    assert body == b""


@pytest.mark.parametrize(
    ("dialect", "allowed", "status", "body"),
    [
        ("ollama", (), 404, b"404 page not found"),
        ("ollama", ("POST",), 405, b"405 method not allowed"),
        ("openai", (), 404, None),
        ("openai", ("GET", "HEAD"), 405, None),
    ],
)
def test_an_unknown_route_is_plain_text_for_ollama_and_json_for_openai(
    dialect: str, allowed: tuple[str, ...], status: int, body: bytes | None
) -> None:
    sent, pairs, answer = errors.unrouted(dialect, allowed)
    headers: dict[bytes, Any] = dict(pairs)
    assert sent == status
    assert headers.get(b"allow", b"").decode() == ", ".join(allowed)
    if body is not None:
        assert headers[b"content-type"] == b"text/plain"
        assert answer == body
    else:
        assert json.loads(answer)["error"]["message"].startswith(str(status))
