"""What a client that has left leaves behind: a model that answers, a checker that is free, a line that counts."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve
from test_consumer_requests import LONG, chat_body, connection, line_of, request_bytes

BRIEF = {"num_predict": 5, "temperature": 0}
SLOW_SCHEMA = {"type": "string", "pattern": "^(left" + "[\\u0000-\\uffff]" * 450 + ")*$"}
"""No other test's: a verdict is remembered."""
"""Its grammar takes seconds to compile."""


def ask(server: RunningServer, **fields: Any) -> httpx.Response:
    body = chat_body(stream=False, options=BRIEF) | fields
    return httpx.post(f"{server.url}/api/chat", json=body, timeout=60)


def test_an_unload_whose_client_left_still_ends_and_the_model_answers_again(serve: Serve) -> None:
    own = serve()
    begun, ended = threading.Event(), threading.Event()

    def stream() -> None:
        with httpx.stream("POST", f"{own.url}/api/chat", json=chat_body(format=LONG), timeout=60) as answer:
            for _ in answer.iter_lines():
                begun.set()
        ended.set()

    reader = threading.Thread(target=stream)
    reader.start()
    try:
        assert begun.wait(60)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{own.url}/api/generate",
                json={"model": "demo", "keep_alive": 0},
                timeout=httpx.Timeout(30, read=0.3),
            )
        assert not ended.is_set(), "the stream was to be longer than the unload's client waited"
    finally:
        reader.join(60)
    assert ended.is_set()
    assert ask(own).status_code == 200


def test_a_schema_whose_client_left_harms_no_other_schema(server: RunningServer) -> None:
    assert ask(server, format={"type": "boolean"}).status_code == 200
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/api/chat",
            json=chat_body(format=SLOW_SCHEMA),
            timeout=httpx.Timeout(30, read=0.4),
        )
    good = {"type": "object", "properties": {"left": {"type": "boolean"}}, "required": ["left"]}
    for _ in range(2):
        answer = ask(server, format=good, options={"temperature": 0})
        assert answer.status_code == 200, answer.text
        assert "left" in json.loads(answer.json()["message"]["content"])


def test_clients_that_leave_while_the_checker_starts_leave_no_process(serve: Serve) -> None:
    own = serve()
    assert ask(own).status_code == 200
    before = len(own.descendants())
    for wait_s in (0.05, 0.1, 0.2, 0.4):
        with connection(own) as sock:
            form = {"type": "string", "pattern": f"^x{wait_s}$"}
            sock.sendall(request_bytes("/api/chat", chat_body(format=form)))
            time.sleep(wait_s)
    assert ask(own, format={"type": "boolean"}, options={"temperature": 0}).status_code == 200
    deadline = time.monotonic() + 30
    while len(own.descendants()) > before + 2:  # the checker, and a spare that may have been on its way
        assert time.monotonic() < deadline, own.descendants()
        time.sleep(0.1)


def test_the_line_of_a_stream_that_was_left_counts_its_tokens(server: RunningServer) -> None:
    with connection(server) as sock:
        body = chat_body(stream=True, format=LONG)
        sock.sendall(request_bytes("/api/chat", body, **{"X-Request-ID": "counted"}))
        received = b""
        while received.count(b'"done":false') < 5:
            received += sock.recv(65536)
    count = re.search(r"completion_tokens=(\d+)", line_of(server, "counted"))
    assert count is not None
    assert int(count[1]) >= 5
