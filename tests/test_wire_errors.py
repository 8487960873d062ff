"""Errors on the wire: status, envelope and words, by table and against the server."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve

from compat_api import errors
from compat_api.urls import OPERATIONS
from inference import errors as raised
from inference.backends.upstream import too_long

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
    assert (
        errors.of(error, NAMED["anthropic.messages"]).message
        == "prompt is too long: 5000 tokens > 4096 maximum"
    )
    uncounted = raised.ContextLengthExceeded(5000, 4096, at_least=True)
    words = errors.of(uncounted, NAMED["anthropic.messages"]).message
    assert words == "prompt is too long: 5000 tokens > 4096 maximum (counted so far)"


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("This model's maximum context length is 9 tokens. However, your messages resulted in 12 tokens.", (12, 9)),
        ("This model's maximum context length is 9 tokens. However, you requested 14 tokens (12 in the messages, 2 in "
         "the completion).", (12, 9)),
        ("prompt is too long: 12 tokens > 9 maximum", (12, 9)),
        (str(raised.ContextLengthExceeded(12, 9)), (12, 9)),
        ("request (12 tokens) exceeds the available context size (9 tokens), try increasing it", (12, 9)),
        ("This model's maximum context length is 9 tokens. However, you requested 14 tokens (3 in the messages, 11 in "
         "the completion).", None),
        ("temperature: is too hot", None),
    ],
)  # fmt: skip
def test_the_words_of_every_server_for_a_prompt_that_is_too_long_are_known(
    said: str, numbers: tuple[int, int] | None
) -> None:
    found = too_long(said)
    assert numbers == found


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


# --- Against the server -------------------------------------------------------------------------------------

TURN = [{"role": "user", "content": "hello"}]
FUNCTION = {"role": "function", "content": "4711"}
NO_ROLE = "invalid message role {}: give one of system, user, assistant, tool"
DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]
DEEP_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"x": DEEP}}}


def post(server: RunningServer, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(server.url + path, content=content, headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/chat", b"", 400, "missing request body"),
        ("/api/generate", b"", 400, "missing request body"),
        ("/api/embed", b"", 400, "missing request body"),
        ("/api/show", b"", 400, "missing request body"),
        ("/api/chat", b'{"model":}', 400, "invalid character '}' looking for beginning of value"),
        ("/api/chat", {"messages": TURN}, 400, "model is required"),
        ("/api/generate", {"prompt": "hello"}, 404, "model '' not found"),
        ("/api/chat", {"model": "Nope", "messages": TURN}, 404, "model 'Nope' not found"),
        ("/api/generate", {"model": "nope", "keep_alive": 0}, 404, "model 'nope' not found"),
        ("/api/embed", {"model": "nope", "input": "a"}, 404, 'model "nope" not found, try pulling it first'),
        ("/api/show", {"model": " "}, 404, "model ' ' not found"),
        ("/api/embed", {"model": " ", "input": "a"}, 404, 'model " " not found, try pulling it first'),
        ("/api/embed", {"input": "a"}, 404, "model '' not found"),
        ("/api/chat", {"model": "a b", "messages": TURN}, 400, "invalid model name"),
        ("/api/chat", {"model": "all-minilm", "messages": TURN}, 400, '"all-minilm" does not support chat'),
        (
            "/api/generate",
            {"model": "all-minilm", "prompt": "a"},
            400,
            '"all-minilm" does not support generate',
        ),
        ("/api/generate", {"model": "all-minilm"}, 400, '"all-minilm" does not support generate'),
        ("/api/chat", b'{"model":"demo","y":"\\ud800","x":' + b"[" * 5000, 400, "exceeded max depth"),
        (
            "/api/chat",
            {"model": "demo", "messages": TURN, "tools": [DEEP_TOOL]},
            400,
            "messages or tools are nested too deeply",
        ),
        ("/api/chat", {"model": "demo", "messages": [*TURN, FUNCTION]}, 400, NO_ROLE.format("'function'")),
        ("/api/chat", {"model": "demo", "messages": [{**TURN[0], "role": ""}]}, 400, NO_ROLE.format("''")),
        (
            "/api/chat",
            {"model": "demo", "messages": TURN, "options": {"num_predict": "x"}},
            400,
            'option "num_predict" must be of type integer',
        ),
    ],
)
def test_a_fault_is_told_before_any_stream_begins(
    server: RunningServer, path: str, body: Any, status: int, words: str
) -> None:
    answer = post(server, path, body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json() == {"error": words}
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_an_empty_body_is_an_object_of_openai_s(server: RunningServer, path: str) -> None:
    answer = post(server, path, b"")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == {
        "message": "EOF",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-NPU-Proxy-Device", "TPU"),
        ("X-Priority", "urgent"),
        ("X-Deadline-Ms", "soon"),
        ("X-Target-Strict", "so"),
    ],
)
def test_a_bad_header_is_named(server: RunningServer, header: str, value: str) -> None:
    for path in ("/api/chat", "/v1/chat/completions"):
        answer = post(server, path, {"model": "demo", "messages": TURN}, **{header: value})
        assert answer.status_code == 400
        assert header in answer.text


def test_a_device_that_is_not_there_is_unavailable_when_it_is_insisted_on(server: RunningServer) -> None:
    body = {"model": "demo", "messages": TURN, "stream": False, "options": {"num_predict": 1}}
    strict = {"X-NPU-Proxy-Device": "NPU", "X-Target-Strict": "true"}
    for path in ("/api/chat", "/v1/chat/completions"):
        answer = post(server, path, body, **strict)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
    relaxed = post(server, "/api/chat", body, **{"X-NPU-Proxy-Device": "NPU"})
    assert relaxed.status_code == 200
    assert relaxed.headers["x-npu-proxy-requested-device"] == "NPU"
    assert relaxed.headers["x-npu-proxy-device"] == "CPU"


def test_a_prompt_that_fits_nowhere_is_refused_with_both_numbers(server: RunningServer) -> None:
    long = [{"role": "user", "content": "model " * 6000}]
    body = {"model": "demo", "messages": long}
    answer = post(server, "/api/chat", body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the input length exceeds the context length")
    cut = post(server, "/api/chat", {**body, "messages": long + TURN, "truncate": True})
    assert cut.status_code == 200
    assert cut.headers["x-npu-proxy-truncated-messages"] == "1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/chat", 405),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/models", 405),
    ],
)
def test_unknown_routes_and_methods(server: RunningServer, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, server.url + path)
    assert answer.status_code == status
    if path.startswith("/v1"):
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    else:
        words = {404: "404 page not found", 405: "405 method not allowed"}
        assert answer.text == words[status]
        assert answer.headers["content-type"].startswith("text/plain")


def test_a_body_that_is_too_large_is_refused_in_the_dialect(serve: Serve) -> None:
    server = serve(NPU_PROXY_MAX_BODY="100KB")
    body = {"model": "demo", "messages": [{"role": "user", "content": "x" * 200_000}]}
    native = post(server, "/api/chat", body)
    assert native.status_code == 413
    assert isinstance(native.json()["error"], str)
    other = post(server, "/v1/chat/completions", body)
    assert other.status_code == 413
    assert other.json()["error"]["type"] == "api_error"
