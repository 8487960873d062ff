"""/v1/stream/ws: several requests on one connection, each of them streamed, cancelled or told what is wrong."""

from __future__ import annotations

import json
import re
import socket as sockets
import time
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve
from socket_client import BABBLE, answers, ask, dial, receive, send, text
from test_consumer_requests import line_of
from websockets.exceptions import ConnectionClosed, InvalidStatus

GREEDY = {"temperature": 0, "max_tokens": 40}
FINAL = {
    *("request_id", "token", "done", "ttft_ms", "total_time_ms", "token_count", "tokens_per_sec"),
    *("backend", "reason", "finish_reason", "energy_j", "energy_source"),
}


@pytest.mark.loop
def test_the_sample_of_the_source_is_answered_token_by_token(server: RunningServer) -> None:
    sample: dict[str, Any] = {"request_id": "voice-001", "prompt": "Transcribe: Hello world", "stream": True}
    with dial(server) as socket:
        answer = ask(socket, **sample, model="demo", priority="critical", max_latency_ms=50)
    *tokens, last = answer
    assert len(tokens) > 3
    assert all(message["request_id"] == "voice-001" and message["token"] for message in tokens)
    assert {message["ttft_ms"] for message in answer} == {last["ttft_ms"]}
    assert [message["done"] for message in answer] == [False] * len(tokens) + [True]
    assert set(last) == FINAL
    assert (last["token"], last["finish_reason"], last["backend"]) == ("", "stop", "CPU")
    assert last["token_count"] >= len(tokens)
    assert 0 < last["ttft_ms"] <= last["total_time_ms"]
    assert last["tokens_per_sec"] > 0


def test_a_latency_that_no_device_keeps_is_relaxed_with_a_reason(server: RunningServer) -> None:
    with dial(server) as socket:
        assert ask(socket, max_latency_ms=0.001, options=GREEDY)[-1]["reason"] == "limit_relaxed"
        assert ask(socket, options=GREEDY)[-1]["reason"] != "limit_relaxed"


def test_the_text_is_that_of_the_other_endpoints(server: RunningServer) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How do I pull a model?"},
    ]
    body = {"model": "demo", "messages": turns, "stream": False, "think": False}
    options = {"temperature": 0, "num_predict": 40}
    wanted = httpx.post(f"{server.url}/api/chat", json=body | {"options": options}, timeout=60).json()
    with dial(server) as socket:
        streamed = ask(socket, prompt=None, messages=turns, options=GREEDY)
        whole = ask(socket, prompt=None, messages=turns, options=GREEDY, stream=False)
    assert text(streamed) == wanted["message"]["content"] == whole[0]["token"]
    assert streamed[-1]["token_count"] == wanted["eval_count"] == whole[0]["token_count"]
    assert len(whole) == 1


def test_thoughts_have_a_field_of_their_own(server: RunningServer) -> None:
    with dial(server) as socket:
        streamed = ask(socket, think=True, options={"temperature": 0})
        (whole,) = ask(socket, think=True, options={"temperature": 0}, stream=False)
    thoughts = "".join(message.get("thinking", "") for message in streamed)
    assert thoughts
    assert (whole["thinking"], whole["token"]) == (thoughts, text(streamed))
    assert all(message["token"] == "" for message in streamed if "thinking" in message)


def test_options_do_what_they_say(server: RunningServer) -> None:
    with dial(server) as socket:
        short = ask(socket, options={"temperature": 0, "max_tokens": 3})
        assert (short[-1]["finish_reason"], short[-1]["token_count"]) == ("length", 3)
        first = text(ask(socket, options=GREEDY))
        word = first.split()[2]
        assert text(ask(socket, options=GREEDY | {"stop": word})) == first.partition(word)[0]
        seeded = {"max_tokens": 12, **BABBLE}
        assert text(ask(socket, options=seeded)) == text(ask(socket, options=seeded)) != first
        unknown = ask(socket, options=GREEDY | {"mirostat": 2}, colour="blue", type=None)
        assert text(unknown) == first


def test_several_requests_share_a_connection_and_mix_nothing_up(server: RunningServer) -> None:
    questions = ["How do I pull a model?", "What is npuproxy?", "Hello"]
    with dial(server) as socket:
        alone = [text(ask(socket, prompt=question, options=GREEDY)) for question in questions]
        send(socket, "long", options=BABBLE | {"max_tokens": 600})
        receive(socket)
        for index, question in enumerate(questions):
            send(socket, f"q{index}", prompt=question, options=GREEDY)
        order: list[str] = []
        found: dict[str, list[dict[str, Any]]] = {}
        while len(order) < 4:
            message = receive(socket)
            found.setdefault(message["request_id"], []).append(message)
            order += [message["request_id"]] if message["done"] else []
    assert [text(found[f"q{index}"]) for index in range(3)] == alone
    assert order[-1] == "long", "the short ones were to be answered while the long one ran"


@pytest.mark.loop
def test_a_request_can_be_cancelled_while_its_neighbour_goes_on(server: RunningServer) -> None:
    with dial(server, additional_headers={"X-Request-ID": f"cancels.{server.port}"}) as socket:
        send(socket, "gone", options=BABBLE | {"max_tokens": 3000})
        receive(socket)
        send(socket, "stays", options=BABBLE | {"max_tokens": 200})
        socket.send(json.dumps({"type": "cancel", "request_id": "gone"}))
        socket.send(json.dumps({"type": "cancel", "request_id": "gone"}))
        found = answers(socket, "gone", "stays")
        last = found["gone"][-1]
        assert (last["finish_reason"], last["token"]) == ("cancelled", "")
        assert 0 < last["token_count"] < 3000
        assert "finish_reason" in found["stays"][-1]
        assert found["stays"][-1]["finish_reason"] != "cancelled"
        assert text(ask(socket, "gone", options=GREEDY)), "the id is free again"
    assert (
        server.log().count(f"[cancels.{server.port}] WS /v1/stream/ws -> stream.ws model=demo status=499")
        == 1
    )


def test_a_cancel_right_behind_its_request_leaves_one_last_message(server: RunningServer) -> None:
    with dial(server) as socket:
        for number in range(20):
            send(socket, f"r{number}", options=BABBLE | {"max_tokens": 2000})
            socket.send(json.dumps({"type": "cancel", "request_id": f"r{number}"}))
        found = answers(socket, *(f"r{number}" for number in range(20)))
        assert text(ask(socket, "after", options=GREEDY))
    for answer in found.values():
        assert [message["done"] for message in answer].count(True) == 1
        assert answer[-1]["finish_reason"] == "cancelled"


def test_to_cancel_what_does_not_run_is_an_error(server: RunningServer) -> None:
    with dial(server) as socket:
        socket.send(json.dumps({"type": "cancel", "request_id": "never"}))
        error = receive(socket)
    assert (error["request_id"], error["code"], error["done"]) == ("never", "not_found", True)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("", "invalid_request", "empty message"),
        ("{", "invalid_request", "unexpected EOF"),
        ("[1]", "invalid_request", "array"),
        ('{"a":' + "[" * 100_000, "invalid_request", "exceeded max depth"),
        ({"request_id": 7}, "invalid_request", "request_id"),
        ({"request_id": "x" * 129}, "invalid_request", "request_id"),
        ({"model": 7}, "invalid_request", "model"),
        ({"model": None}, "invalid_request", "model is required"),
        ({"model": "nothing"}, "not_found", "model 'nothing' not found"),
        ({"model": "all-minilm"}, "invalid_request", "does not support chat"),
        ({"prompt": ["a"]}, "invalid_request", "prompt"),
        ({"prompt": ""}, "invalid_request", '"prompt" or "messages" is required'),
        ({"messages": [{"role": "user", "content": "a"}]}, "invalid_request", "not both"),
        ({"prompt": None, "messages": [{"content": "a"}]}, "invalid_request", "messages[0].role"),
        ({"prompt": None, "messages": [{"role": "user", "content": 5}]}, "invalid_request", "content"),
        ({"options": {"top_k": "many"}}, "invalid_request", "options.top_k"),
        ({"options": {"stop": [1]}}, "invalid_request", "options.stop"),
        ({"stream": "yes"}, "invalid_request", "stream"),
        ({"priority": "urgent"}, "invalid_request", "priority: 'urgent'"),
        ({"priority": 3}, "invalid_request", "priority"),
        ({"max_latency_ms": 0}, "invalid_request", "max_latency_ms"),
        ({"max_latency_ms": "50"}, "invalid_request", "max_latency_ms"),
        ({"type": "reset"}, "invalid_request", "type"),
        ({"prompt": "word " * 20_000}, "context_length_exceeded", "context length"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_error_says_what_is_wrong_and_leaves_the_connection_open(
    server: RunningServer, body: Any, code: str, words: str
) -> None:
    with dial(server) as socket:
        given = {"request_id": "bad", "model": "demo", "prompt": "Hello"}
        socket.send(body if isinstance(body, str) else json.dumps(given | body))
        error = receive(socket)
        assert set(error) == {"request_id", "error", "code", "done"}
        assert (error["code"], error["done"]) == (code, True)
        assert words in error["error"]
        known = isinstance(body, dict) and "request_id" not in body
        assert error["request_id"] == ("bad" if known else None)
        assert text(ask(socket, options=GREEDY))


def test_an_id_that_is_running_and_one_request_too_many_are_errors(server: RunningServer) -> None:
    with dial(server) as socket:
        for number in range(16):
            send(socket, f"r{number}", options=BABBLE | {"max_tokens": 4000})
        send(socket, "r0")
        send(socket, "r16")
        codes: dict[str, str] = {}
        while len(codes) < 2:
            message = receive(socket)
            if "code" in message:
                codes[message["code"]] = message["request_id"]
    assert codes == {"duplicate_request_id": "r0", "too_many_requests": "r16"}


@pytest.mark.loop
def test_a_client_that_leaves_in_mid_stream_ends_its_requests(server: RunningServer) -> None:
    name = f"leaves.ws.{server.port}"
    with dial(server, additional_headers={"X-Request-ID": name}) as socket:
        for number in range(3):
            send(socket, f"r{number}", options=BABBLE | {"max_tokens": 100_000})
        while receive(socket)["request_id"] != "r2":
            pass
        socket.socket.shutdown(sockets.SHUT_RDWR)
    deadline = time.monotonic() + 30
    ended: list[str] = []
    while len(ended) < 3 and time.monotonic() < deadline:
        ended = re.findall(rf"\[{re.escape(name)}\] WS .*status=499 .*client gone", server.log())
        time.sleep(0.05)
    assert len(ended) == 3
    with dial(server) as socket:
        assert text(ask(socket, options=GREEDY))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007),  # a text that is no UTF-8
        (b"\x81\x02{}", 1002),  # not masked
        (b"\xf1\x80\x00\x00\x00\x00", 1002),  # reserved bits
        (b"\x80\x80\x00\x00\x00\x00", 1002),  # goes on with nothing
    ],
)
def test_what_is_no_message_ends_the_connection_with_a_code(
    server: RunningServer, frame: bytes, code: int
) -> None:
    with dial(server) as socket:
        socket.socket.sendall(frame)
        with pytest.raises(ConnectionClosed) as closed:
            receive(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert "Traceback" not in server.log()


def test_a_binary_message_is_read_like_text(server: RunningServer) -> None:
    with dial(server) as socket:
        body = {"request_id": "b", "model": "demo", "prompt": "Hello", "options": GREEDY}
        socket.send(json.dumps(body).encode())
        assert text(answers(socket, "b")["b"])
        socket.send(b"\xff\xfe\x00")
        assert receive(socket)["code"] == "invalid_request"


def test_the_headers_of_the_handshake_hold_for_every_request(server: RunningServer) -> None:
    name = f"wishes.{server.port}"
    wishes = {"X-NPU-Proxy-Device": "CPU", "X-Request-ID": name}
    with dial(server, additional_headers=wishes) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-request-id"] == name
        assert ask(socket, options=GREEDY)[-1]["reason"] == "target"
    assert "requested=CPU" in line_of(server, name)
    with pytest.raises(InvalidStatus, match="400") as refused:
        dial(server, additional_headers={"X-Priority": "urgent"})
    assert b"X-Priority: 'urgent'" in (refused.value.response.body or b"")


def test_a_server_that_stops_ends_answers_first_and_idle_connections_at_once(serve: Serve) -> None:
    server = serve()
    with dial(server) as idle, dial(server) as busy:
        send(busy, "last", options=BABBLE | {"max_tokens": 400})
        receive(busy)
        server.request_stop()
        with pytest.raises(ConnectionClosed) as closed:
            idle.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert closed.value.rcvd.reason == "the server is shutting down"
        assert answers(busy, "last")["last"][-1]["finish_reason"] in ("stop", "length")
        with pytest.raises(ConnectionClosed) as closed:
            busy.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert server.process.wait(30) == 0
    assert "were cut" not in server.log(), "nobody waited for the end of the drain"
