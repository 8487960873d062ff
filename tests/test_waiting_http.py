"""A device that is full, as clients see it: who leaves, who gives up, who is turned away, and whose key decides."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from conftest import NPU_QUEUE, RunningServer
from keys import apikey
from server_rows import eventually

ON_NPU = {"X-Target-Backend": "NPU", "X-Target-Strict": "true"}


def body(tokens: int) -> dict[str, Any]:
    """A long answer: at this temperature every token is as likely as the end."""
    options = {"temperature": 1000, "top_k": 0, "top_p": 1, "num_predict": tokens}
    return {"model": "demo", "prompt": "count", "think": False, "options": options}


@contextlib.contextmanager
def asking(server: RunningServer, many: int, tokens: int = 900, **headers: str) -> Iterator[None]:
    """So many clients who wait for an answer of the NPU, and leave at the end of the block."""
    data = json.dumps(body(tokens)).encode()
    lines = {"Host": "localhost", "Content-Length": str(len(data)), **ON_NPU, **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with contextlib.ExitStack() as clients:
        for _ in range(many):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(f"POST /api/generate HTTP/1.1\r\n{head}\r\n".encode() + data)
        yield


def npu(server: RunningServer) -> tuple[int, int]:
    """Running and waiting."""
    devices = httpx.get(f"{server.url}/health/devices", timeout=30).json()["devices"]
    found = next(device for device in devices if device["id"] == "NPU")
    return found["running"], found["waiting"]


@pytest.fixture
def idle(npu_server: RunningServer) -> Iterator[RunningServer]:
    """With the model there: who waits for a load counts as waiting too."""
    loaded = httpx.post(f"{npu_server.url}/api/generate", json=body(1), headers=ON_NPU, timeout=120)
    assert loaded.status_code == 200, loaded.text
    eventually(lambda: npu(npu_server) == (0, 0))
    yield npu_server
    eventually(lambda: npu(npu_server) == (0, 0))


def test_clients_that_leave_are_out_of_the_line_at_once(idle: RunningServer) -> None:
    with asking(idle, 1):
        eventually(lambda: npu(idle) == (1, 0))
        with asking(idle, 7):
            eventually(lambda: npu(idle) == (1, 7))
        eventually(lambda: npu(idle)[1] == 0)
    eventually(lambda: npu(idle) == (0, 0))


def test_a_deadline_that_passes_in_the_line_is_a_504_that_no_sdk_tries_again(idle: RunningServer) -> None:
    with asking(idle, 3):
        eventually(lambda: npu(idle)[1] == 2)
        wishes = {**ON_NPU, "X-Deadline-Ms": "100"}
        answer = httpx.post(f"{idle.url}/api/generate", json=body(1), headers=wishes, timeout=60)
        assert answer.status_code == 504
        assert answer.headers["x-should-retry"] == "false"
        assert "X-Deadline-Ms" in answer.json()["error"]
        refused = idle.log().count("status=504")
        client = openai.OpenAI(base_url=f"{idle.url}/v1", api_key="none", max_retries=5)
        with client, pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(
                model="demo", messages=[{"role": "user", "content": "hi"}], extra_headers=wishes
            )
        assert caught.value.status_code == 504
        assert idle.log().count("status=504") == refused + 1


def test_a_line_that_is_full_turns_away_with_a_time_to_come_back(idle: RunningServer) -> None:
    with asking(idle, NPU_QUEUE + 1):
        eventually(lambda: npu(idle) == (1, NPU_QUEUE))
        answer = httpx.post(f"{idle.url}/api/generate", json=body(1), headers=ON_NPU, timeout=60)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        words = "server busy, please try again.  maximum pending requests exceeded"
        assert answer.json()["error"] == words
        elsewhere = httpx.post(
            f"{idle.url}/api/generate", json=body(1) | {"stream": False}, headers={}, timeout=60
        )
        assert (elsewhere.status_code, elsewhere.headers["X-Backend-Used"]) == (200, "CPU")
        assert elsewhere.headers["X-NPU-Proxy-Fallback-Reason"] == "busy"


def test_a_key_for_best_effort_starts_after_who_came_later(idle: RunningServer) -> None:
    secret = apikey(idle, "create", "nightly", "--priority", "best-effort")["key"]
    with asking(idle, 1, tokens=450):
        eventually(lambda: npu(idle) == (1, 0))
        with asking(idle, 1, Authorization=f"Bearer {secret}"):
            eventually(lambda: npu(idle) == (1, 1))
            answer = httpx.post(f"{idle.url}/api/generate", json=body(1), headers=ON_NPU, timeout=60)
            assert answer.status_code == 200
            assert float(answer.headers["X-NPU-Proxy-Queue-Ms"]) > 0
            assert sum(npu(idle)) == 1, "the one that came before it has not had its answer"


def test_a_key_whose_requests_are_usually_urgent_starts_before_who_came_earlier(idle: RunningServer) -> None:
    secret = apikey(idle, "create", "dictation", "--default-priority", "high")["key"]
    with asking(idle, 1, tokens=450):
        eventually(lambda: npu(idle) == (1, 0))
        with asking(idle, 1):
            eventually(lambda: npu(idle) == (1, 1))
            key = {"Authorization": f"Bearer {secret}"}
            answer = httpx.post(f"{idle.url}/api/generate", json=body(1), headers=ON_NPU | key, timeout=60)
            assert answer.status_code == 200
            assert float(answer.headers["X-NPU-Proxy-Queue-Ms"]) > 0
            assert sum(npu(idle)) == 1, "the one that came before it has not had its answer"
