"""Crashed, hung and poisoned workers, and clients that leave, against the real server over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import RunningServer, Serve
from workers import worker_of

HOT = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": 6}
"""At this temperature every token is as likely as the end: an answer of more than a thousand tokens."""
QUESTION = [{"role": "user", "content": "How do I pull a model?"}]


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": QUESTION, "stream": False, "think": False, **changes}


def post(
    server: RunningServer, path: str, body: dict[str, Any], timeout_s: float = 60
) -> tuple[int, Any, Any]:
    """Status, decoded body, headers."""
    request = urllib.request.Request(server.url + path, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


def answer(server: RunningServer) -> str:
    status, body, _ = post(server, "/api/chat", chat())
    assert status == 200, body
    text: str = body["message"]["content"]
    assert text
    return text


def stream(server: RunningServer, **changes: Any) -> Iterator[dict[str, Any]]:
    body = chat(stream=True, options={**HOT, "num_predict": 3000}, **changes)
    request = urllib.request.Request(server.url + "/api/chat", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        for line in response:
            yield json.loads(line)


def wait_for(condition: Callable[[], bool], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="finds workers in /proc")


@pytest.mark.loop
def test_a_worker_killed_in_mid_stream_ends_it_with_an_error_and_the_next_request_is_answered(
    server: RunningServer,
) -> None:
    before = answer(server)
    lines = []
    for line in stream(server):
        lines.append(line)
        if len(lines) == 3:
            worker_of(server).send_signal(signal.SIGKILL)
    assert "worker process" in lines[-1]["error"]
    assert "done" not in lines[-1]
    assert answer(server) == before


LONG = {"name": "long", "schema": {"type": "string", "pattern": "[a-z]{900}"}}


def events_until_killed(server: RunningServer, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a stream of /v1 whose worker is killed after the eighth event."""
    request = urllib.request.Request(
        server.url + path, json.dumps({"model": "demo", "stream": True, **body}).encode()
    )
    events = []
    with urllib.request.urlopen(request, timeout=60) as response:
        for line in response:
            if not line.startswith(b"data: "):
                continue
            events.append(json.loads(line[6:]))
            if len(events) == 8:
                worker_of(server).send_signal(signal.SIGKILL)
    return events


def test_a_killed_worker_ends_an_openai_stream_with_an_error_event(server: RunningServer) -> None:
    answer(server)
    form = {"type": "json_schema", "json_schema": LONG}
    body = {"messages": QUESTION, "response_format": form, "reasoning_effort": "none"}
    events = events_until_killed(server, "/v1/chat/completions", body)
    assert "worker process" in events[-1]["error"]["message"]
    assert answer(server)


def test_a_killed_worker_ends_a_message_with_an_error_event_that_names_the_request(
    server: RunningServer,
) -> None:
    answer(server)
    form = {"format": {"type": "json_schema", "schema": LONG["schema"]}}
    body = {"messages": QUESTION, "output_config": form, "max_tokens": 900}
    told = events_until_killed(server, "/v1/messages", body)[-1]
    assert (told["type"], told["error"]["type"]) == ("error", "api_error")
    assert "worker process" in told["error"]["message"]
    assert re.fullmatch(r"req_[0-9a-f]{24}", told["request_id"])
    assert answer(server)


def test_a_killed_worker_fails_a_response(server: RunningServer) -> None:
    answer(server)
    form = {"format": {"type": "json_schema", **LONG}}
    body = {"input": QUESTION[0]["content"], "text": form, "reasoning": {"effort": "none"}}
    told, failed = events_until_killed(server, "/v1/responses", body)[-2:]
    assert (told["type"], failed["type"]) == ("error", "response.failed")
    assert "worker process" in told["message"]
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": told["message"]}
    assert failed["sequence_number"] == told["sequence_number"] + 1
    assert answer(server)


def test_a_stopped_worker_is_killed_at_the_deadline_and_the_next_request_is_answered(serve: Serve) -> None:
    server = serve(NPU_PROXY_INFERENCE_TIMEOUT="2")
    answer(server)
    worker = worker_of(server)
    worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    status, body, _ = post(server, "/api/chat", chat())
    assert (status, "NPU_PROXY_INFERENCE_TIMEOUT" in body["error"]) == (504, True)
    assert time.monotonic() - began < 10
    wait_for(lambda: not worker.is_running())
    assert answer(server)


def test_a_worker_stopped_in_mid_stream_ends_it_with_an_error(serve: Serve) -> None:
    server = serve(NPU_PROXY_INFERENCE_TIMEOUT="2")
    answer(server)
    lines = []
    for line in stream(server):
        lines.append(line)
        if len(lines) == 3:
            worker_of(server).send_signal(signal.SIGSTOP)
    assert "error" in lines[-1]
    assert answer(server)


def test_a_crash_loop_is_a_503_with_retry_after_until_the_breaker_closes(serve: Serve) -> None:
    server = serve()
    for _ in range(3):
        post(server, "/api/generate", {"model": "demo"})
        worker = worker_of(server)
        worker.send_signal(signal.SIGKILL)
        psutil.wait_procs([worker], timeout=10)
        wait_for(lambda: b"demo" not in get_ps(server))
    status, body, headers = post(server, "/api/chat", chat())
    assert (status, "crashed repeatedly" in body["error"]) == (503, True)
    assert 1 <= int(headers["Retry-After"]) <= 10
    status, body, _ = post(server, "/api/embed", {"model": "all-minilm", "input": "still here"})
    assert (status, len(body["embeddings"])) == (200, 1)
    time.sleep(int(headers["Retry-After"]) + 0.5)
    assert answer(server)


def get_ps(server: RunningServer) -> bytes:
    with urllib.request.urlopen(server.url + "/api/ps", timeout=10) as response:
        data: bytes = response.read()
    return data


@pytest.mark.loop
def test_a_client_that_leaves_in_mid_stream_frees_its_slot(server: RunningServer) -> None:
    answer(server)
    body = json.dumps(chat(stream=True, options={**HOT, "num_predict": 3000})).encode()
    head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    already = server.log().count("status=499")
    for _ in range(40):  # more than there are slots
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(head + body)
            assert client.recv(100)
    wait_for(lambda: server.log().count("status=499") == already + 40)
    assert answer(server)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "([a-z]{1,900}){1,900}"},
        {"type": "string", "pattern": "(((("},
        {"$ref": "#/definitions/nowhere"},
    ],
)
def test_a_poisonous_grammar_is_a_400_beside_healthy_requests(
    server: RunningServer, schema: dict[str, Any]
) -> None:
    healthy: list[str] = []
    threads = [threading.Thread(target=lambda: healthy.append(answer(server))) for _ in range(4)]
    for thread in threads:
        thread.start()
    status, body, _ = post(server, "/api/chat", chat(format=schema))
    for thread in threads:
        thread.join()
    assert status == 400, body
    assert len(healthy) == 4
    assert len(set(healthy)) == 1


def test_readers_that_never_read_hold_no_slot(serve: Serve) -> None:
    server = serve()
    answer(server)
    body = json.dumps(chat(stream=True, options={**HOT, "num_predict": 600})).encode()
    head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    sockets = []  # more than there are slots
    for _ in range(34):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(head + body)
        sockets.append(client)
    assert answer(server)
    for client in sockets:
        client.close()
    assert answer(server)


def test_nothing_is_left_when_the_server_is_killed(serve: Serve) -> None:
    server = serve()
    answer(server)
    family = server.descendants()
    assert family
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


@pytest.mark.loop
def test_a_stream_gets_time_to_end_when_the_server_stops(event_loop: str, serve: Serve) -> None:
    server = serve()
    answer(server)
    lines = []
    for line in stream(server):
        lines.append(line)
        if len(lines) == 2:
            server.request_stop()
    assert lines[-1]["done"] is True
    assert server.process.wait(15) == 0


def test_a_server_that_was_stopped_for_a_while_blames_no_worker(serve: Serve) -> None:
    """As by Ctrl-Z: both sleep for longer than the worker may be silent, and the stream goes on."""
    server = serve(NPU_PROXY_INFERENCE_TIMEOUT="2")
    answer(server)
    asleep = [psutil.Process(server.process.pid), worker_of(server)]
    lines = []
    for line in stream(server):
        lines.append(line)
        if len(lines) == 3:
            for process in asleep:
                process.suspend()
            time.sleep(8)
            for process in reversed(asleep):
                process.resume()
    assert lines[-1]["done"] is True
