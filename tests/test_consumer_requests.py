"""What a consumer owes every request: it ends with its client, and writes one line without any of its text."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve
from streams import long_stream

LONG = {"type": "array", "items": {"type": "boolean"}, "minItems": 900}
"""An answer in this form takes seconds, whatever the model."""


def request_bytes(path: str, body: Any, **headers: str) -> bytes:
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


@contextmanager
def connection(server: RunningServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        yield sock


def line_of(server: RunningServer, request_id: str, within_s: float = 10.0) -> str:
    """The one log line of a request; fails when there is none or more than one."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        lines = [line for line in server.log().splitlines() if f"npuproxy.request [{request_id}]" in line]
        if lines:
            assert len(lines) == 1
            return lines[0]
        time.sleep(0.05)
    pytest.fail(f"no line of {request_id} in the log")


def chat_body(**fields: Any) -> dict[str, Any]:
    turn = {"role": "user", "content": "Say the word zanzibar and stop"}
    return {"model": "demo", "messages": [turn], "think": False, "options": {"temperature": 0}} | fields


@pytest.mark.loop
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_a_client_that_leaves_in_mid_stream_ends_the_work(server: RunningServer, path: str) -> None:
    request_id = f"leaves{path.replace('/', '.')}.{server.port}"
    json_schema = {"type": "json_schema", "json_schema": {"name": "long", "schema": LONG}}
    body = chat_body(stream=True, format=LONG, response_format=json_schema, reasoning_effort="none")
    with connection(server) as sock:
        sock.sendall(request_bytes(path, body, **{"X-Request-ID": request_id}))
        received = b""
        while received.count(b"content") < 3:
            received += sock.recv(4096)
    line = line_of(server, request_id)
    assert "status=499" in line
    assert "executed=CPU" in line
    total_ms = float(re.findall(r"total_ms=([\d.]+)", line)[0])
    after = httpx.post(
        f"{server.url}/api/chat", json=chat_body(stream=False, options={"num_predict": 1}), timeout=60
    )
    assert after.status_code == 200
    assert total_ms < 30_000


@pytest.mark.loop
def test_a_client_that_leaves_before_the_first_byte_ends_the_work(server: RunningServer) -> None:
    request_id = f"leaves.early.{server.port}"
    with connection(server) as sock:
        body = chat_body(stream=False, format=LONG)
        sock.sendall(request_bytes("/api/chat", body, **{"X-Request-ID": request_id}))
        time.sleep(0.2)
    assert "status=499" in line_of(server, request_id, within_s=2)


def test_a_client_that_leaves_in_its_own_body_does_no_harm(server: RunningServer) -> None:
    with connection(server) as sock:
        sock.sendall(request_bytes("/api/chat", chat_body())[:-20])
    assert httpx.get(f"{server.url}/api/version").status_code == 200


@pytest.mark.slow
def test_an_answer_that_the_stopping_server_cuts_says_so(serve: Serve) -> None:
    server = serve()
    with ExitStack() as stack:
        answers = [stack.enter_context(long_stream(server)) for _ in range(12)]
        server.request_stop()
        last = [json.loads(answer.read().splitlines()[-1]) for answer in answers]
    assert {"error": "the server is shutting down"} in last
    assert all("error" in line or line["done"] for line in last)
    assert "status=503" in server.log()


def test_two_requests_on_one_connection_are_answered_in_turn(server: RunningServer) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(3):
            body = chat_body(options={"num_predict": 2})
            answer = client.post("/api/chat", json=body)
            assert answer.text.count('"done":true') == 1


def test_the_line_of_a_request_has_every_fact_and_no_text(server: RunningServer) -> None:
    request_id = f"facts.{server.port}"
    body = chat_body(stream=False, options={"temperature": 0, "num_predict": 2})
    answer = httpx.post(f"{server.url}/api/chat", json=body, headers={"X-Request-ID": request_id}, timeout=60)
    assert answer.headers["x-request-id"] == request_id
    line = line_of(server, request_id)
    assert "POST /api/chat -> chat model=demo status=200 requested=NPU routed=CPU executed=CPU" in line
    assert "reason=device_unavailable" in line
    assert f"prompt_tokens={answer.json()['prompt_eval_count']} completion_tokens=2 " in line
    for name in ("queue_ms", "ttft_ms", "total_ms"):
        assert re.search(rf" {name}=\d+\.\d", line)
    assert "zanzibar" not in server.log()


def test_what_a_client_calls_a_model_cannot_forge_a_line(server: RunningServer) -> None:
    request_id = f"forged.{server.port}"
    name = "demo status=200\n2026 INFO npuproxy.request [x] forged"
    httpx.post(f"{server.url}/api/chat", json=chat_body(model=name), headers={"X-Request-ID": request_id})
    assert "status=400" in line_of(server, request_id)
    assert not any(line.startswith("2026 INFO") for line in server.log().splitlines())


def test_an_error_has_its_line_too(server: RunningServer) -> None:
    request_id = f"missing.{server.port}"
    body = {"model": "nope", "input": "a"}
    httpx.post(f"{server.url}/v1/embeddings", json=body, headers={"X-Request-ID": request_id})
    line = line_of(server, request_id)
    assert "POST /v1/embeddings -> openai.embeddings model=nope status=404" in line
    assert "error=" in line


def test_what_does_not_infer_has_a_short_line(server: RunningServer) -> None:
    request_id = f"tags.{server.port}"
    httpx.get(f"{server.url}/api/tags", headers={"X-Request-ID": request_id})
    line = line_of(server, request_id)
    assert "GET /api/tags -> tags model=- status=200 total_ms=" in line
    assert "routed" not in line
