"""A call from its first byte to its end: bad messages, deadlines, clients that leave or do not read, the stop."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest
from conftest import RunningServer, free_port, start_server
from grpc_client import BABBLE, ask, dial, method, prompt, refusal, sent
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import BadRequest
from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.grpc import requests
from npuproxy.grpc.call import address
from npuproxy.grpc.operations import SERVICE

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = pb.Options(temperature=1000, top_k=0, top_p=1, seed=3, max_tokens=100_000)
"""3,600 tokens, more than the windows of HTTP/2 hold."""


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def running(channel: grpc.Channel) -> int:
    """Generations on all devices, as the engine's snapshot has them."""
    backends = ask(channel, "ListBackends", pb.ListBackendsRequest()).backends
    return sum(backend.metrics.running for backend in backends)


def annotated(**fields: Any) -> pb.GenerateRequest:
    return prompt(annotations=pb.Annotations(**fields))


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (pb.GenerateRequest(prompt="a"), INVALID, "model is required"),
        (pb.GenerateRequest(model="demo"), INVALID, '"prompt" is required'),
        (prompt(model="nothing"), grpc.StatusCode.NOT_FOUND, "model 'nothing' not found"),
        (prompt(model="all-minilm"), INVALID, "does not support"),
        (prompt("word " * 20_000), INVALID, "context length"),
        (prompt(raw=True, system="a"), INVALID, '"raw"'),
        (prompt(suffix="a", system="b"), INVALID, '"suffix"'),
        (prompt(images=[b""]), INVALID, '"images[0]" is empty'),
        (prompt(keep_alive="soon"), INVALID, "invalid duration"),
        (prompt(format="yaml"), INVALID, "format"),
        (prompt(options=pb.Options(context_length=-1)), INVALID, "options.context_length"),
        (prompt(options=pb.Options(stop=["a"] * 65)), INVALID, "stop strings"),
        (prompt(options=pb.Options(temperature=math.nan)), INVALID, '"options.temperature" is not a number'),
        (annotated(max_latency_ms=-4), INVALID, "annotations.max_latency_ms: '-4'"),
        (annotated(max_power_watts=-1), INVALID, "annotations.max_power_watts: '-1'"),
        (annotated(priority="urgent"), INVALID, "annotations.priority: 'urgent'"),
        (annotated(custom={"media_type": "smell"}), INVALID, "annotations.custom[media_type]: 'smell'"),
        (annotated(custom={"X-Deadline-Ms": "0"}), INVALID, "annotations.custom[X-Deadline-Ms]: '0'"),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:40],
)
def test_what_cannot_be_done_is_refused_by_name(
    server: RunningServer, request_: pb.GenerateRequest, code: grpc.StatusCode, words: str
) -> None:
    with dial(server.grpc) as channel:
        found, details = refusal(channel, "Generate", request_)
        assert found is code
        assert words in details
        with pytest.raises(grpc.RpcError, match=code.name):
            list(method(channel, "GenerateStream")(request_, timeout=60))


@pytest.mark.parametrize(
    ("name", "request_", "words"),
    [
        ("Chat", pb.ChatRequest(model="demo"), '"messages" is required'),
        ("Chat", pb.ChatRequest(model="demo", messages=[pb.Message(content="a")]), "messages[0].role"),
        (
            "Chat",
            pb.ChatRequest(
                model="demo", messages=[pb.Message(role="user")], tools=[pb.Tool(name="a", parameters="[")]
            ),
            "tools[0].parameters",
        ),
        ("Embed", pb.EmbedRequest(model="all-minilm"), '"text" is required'),
        ("Embed", pb.EmbedRequest(model="demo", text="a"), "does not support embeddings"),
        ("Embed", pb.EmbedRequest(model="all-minilm", text="a", dimensions=-1), '"dimensions": -1'),
    ],
)
def test_other_methods_refuse_by_name_too(
    server: RunningServer, name: str, request_: Any, words: str
) -> None:
    with dial(server.grpc) as channel:
        code, details = refusal(channel, name, request_)
    assert code is INVALID
    assert words in details


def test_bytes_that_are_no_message_are_refused(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        raw: Any = channel.unary_unary(f"/{SERVICE}/Generate")
        with pytest.raises(grpc.RpcError, match=r"no message ollama_proxy\.GenerateRequest"):
            raw(b"\xff\xff\xff", timeout=60)
        unheard_of: Any = channel.unary_unary(f"/{SERVICE}/Sing")
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            unheard_of(b"", timeout=60)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["generate", "chat", "embed"]))
def test_no_bytes_break_the_parser(body: bytes, kind: str) -> None:
    """Either they are a request, or what is wrong is said."""
    with contextlib.suppress(BadRequest):
        if kind == "embed":
            requests.embed(requests.read(pb.EmbedRequest, body))
        elif kind == "chat":
            requests.chat(requests.read(pb.ChatRequest, b"\x0a\x04demo" + body), True)
        else:
            wire = requests.read(pb.GenerateRequest, b"\x0a\x02Hi\x12\x04demo" + body)
            requests.generate(wire, True)
            requests.annotated(wire.annotations)


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ("ipv4:127.0.0.1:5042", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5042", "::1"),
        ("ipv6:[::ffff:192.0.2.7]:5042", "::ffff:192.0.2.7"),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_a_peer_is_known_by_its_address(peer: str, found: str) -> None:
    assert address(SimpleNamespace(peer=lambda: peer)) == found


def test_wishes_in_metadata_win_over_annotations(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        answer = ask(channel, "Generate", annotated(target="NPU.7"), x_target_backend="CPU")
        assert (answer.routing.requested, answer.routing.reason) == ("CPU", "target")
        code, words = refusal(channel, "Generate", prompt(), x_priority="urgent")
    assert code is INVALID
    assert "X-Priority: 'urgent'" in words


def test_the_id_of_a_request_is_the_callers(server: RunningServer) -> None:
    name = f"grpc.{server.port}"
    with dial(server.grpc) as channel:
        call = method(channel, "GenerateStream")(prompt(), timeout=60, metadata=(("x-request-id", name),))
        assert ("x-request-id", name) in tuple(call.initial_metadata())
        list(call)
    until(lambda: f"[{name}] gRPC /{SERVICE}/GenerateStream" in server.log(), "no line of the request")


def test_a_deadline_ends_the_generation(server: RunningServer) -> None:
    name = f"late.grpc.{server.port}"
    with dial(server.grpc) as channel:
        ask(channel, "Generate", prompt())
        metadata = sent({"x_request_id": name})
        with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
            method(channel, "Generate")(prompt("Hello", options=LONG), timeout=1, metadata=metadata)
        until(lambda: f"[{name}] gRPC" in server.log(), "the request did not end with its deadline")
        until(lambda: running(channel) == 0, "the slot is not free")
    (line,) = [line for line in server.log().splitlines() if f"[{name}] gRPC" in line]
    assert "status=504" in line or "status=499" in line, "the client's own clock may be first"
    assert "completion_tokens=3595" not in line


@pytest.mark.loop
def test_the_slot_is_free_after_a_client_has_cancelled(server: RunningServer) -> None:
    name = f"leaves.grpc.{server.port}"
    with dial(server.grpc) as channel:
        metadata = sent({"x_request_id": name})
        calls = [
            method(channel, "GenerateStream")(prompt("Hello", options=LONG), timeout=60, metadata=metadata)
            for _ in range(3)
        ]
        for call in calls:
            next(call)
        assert running(channel) == 3
        for call in calls:
            call.cancel()
        until(lambda: running(channel) == 0, "the slots are not free")
    until(lambda: server.log().count(f"[{name}] gRPC") == 3, "not every request has its line")
    lines = [line for line in server.log().splitlines() if f"[{name}] gRPC" in line]
    assert all("status=499" in line and "completion_tokens=" in line for line in lines)


def test_the_operator_ends_a_call(server: RunningServer) -> None:
    name = f"ended.grpc.{server.port}"
    with dial(server.grpc) as channel:
        call = method(channel, "GenerateStream")(
            prompt("Hello", options=LONG), timeout=60, metadata=(("x-request-id", name),)
        )
        next(call)
        answer = httpx.request("DELETE", server.url + "/api/requests", json={"id": name}, trust_env=False)
        assert answer.json() == {"cancelled": 1}
        with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
            list(call)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """It waits for a reader for three seconds, and takes a megabyte."""
    settings = {"NPU_PROXY_READ_TIMEOUT": "3", "NPU_PROXY_MAX_BODY": "1MB"}
    running = start_server(
        tmp_path_factory.mktemp("strict"), NPU_PROXY_GRPC_PORT=str(free_port()), **settings
    )
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def test_what_is_larger_than_a_body_may_be_is_refused(strict: RunningServer) -> None:
    with dial(strict.grpc) as channel:
        code, words = refusal(channel, "Generate", prompt("a" * 1_100_000))
        assert (code, "larger than max" in words) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        bomb = prompt(" " * 5_000_000)
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            method(channel, "Generate")(bomb, timeout=60, compression=grpc.Compression.Gzip)


def test_a_client_that_does_not_read_is_cut(strict: RunningServer) -> None:
    window = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(strict.grpc, options=window) as channel, dial(strict.grpc) as other:
        call = method(channel, "GenerateStream")(prompt("Hello", options=LONG), timeout=60)
        next(call)
        until(lambda: "status=499" in strict.log(), "it was not cut")
        until(lambda: running(other) == 0, "the slot is not free")
        with pytest.raises(grpc.RpcError, match="neither sent nor took anything for 3 s"):
            list(call)


def test_of_two_that_wait_the_more_urgent_one_starts_first(npu_server: RunningServer) -> None:
    order: list[str] = []
    with dial(npu_server.grpc) as channel:
        holder = method(channel, "GenerateStream")(annotated_long(), timeout=60)
        assert next(holder).backend_used == "NPU"

        def wait_for(level: str) -> None:
            annotations = pb.Annotations(target="NPU", priority=level)
            ask(channel, "Generate", prompt(options=pb.Options(max_tokens=2), annotations=annotations))
            order.append(level)

        threads = []
        for level in ("best-effort", "critical"):
            threads.append(threading.Thread(target=wait_for, args=(level,)))
            threads[-1].start()
            until(lambda: waiting(channel) == len(threads), f"{level} does not wait")
        holder.cancel()
        for thread in threads:
            thread.join(30)
    assert order == ["critical", "best-effort"]


def test_who_waits_longer_than_the_deadline_leaves_the_line(npu_server: RunningServer) -> None:
    with dial(npu_server.grpc) as channel:
        holder = method(channel, "GenerateStream")(annotated_long(), timeout=60)
        next(holder)
        with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
            method(channel, "Generate")(prompt(annotations=pb.Annotations(target="NPU")), timeout=0.5)
        until(lambda: waiting(channel) == 0, "it still waits")
        holder.cancel()


def annotated_long() -> pb.GenerateRequest:
    return prompt("Hello", options=LONG, annotations=pb.Annotations(target="NPU"))


def waiting(channel: grpc.Channel) -> int:
    backends = ask(channel, "ListBackends", pb.ListBackendsRequest()).backends
    return sum(backend.metrics.waiting for backend in backends)


def test_a_server_that_stops_says_so_and_ends_its_answers_first(strict: RunningServer) -> None:
    serving = health_pb2.HealthCheckResponse.SERVING
    with dial(strict.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service=SERVICE)
        until(lambda: health.Check(asked, timeout=60).status == serving, "it never was ready")
        watched = health.Watch(asked, timeout=60)
        assert next(watched).status == serving
        call = method(channel, "GenerateStream")(prompt("Hello", options=BABBLE), timeout=60)
        next(call)
        strict.request_stop()
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert list(call)[-1].done
    assert strict.process.wait(30) == 0
    assert "were cut" not in strict.log()
