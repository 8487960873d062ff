"""The gRPC door: every method over a real channel, with the facts that HTTP says in its headers."""

from __future__ import annotations

import grpc
import httpx
import pytest
from conftest import RunningServer
from grpc_client import GREEDY, ask, dial, method, prompt, stream

from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.grpc.operations import PROXY_SERVICE


def spoken(server: RunningServer) -> str:
    """What HTTP answers to `prompt()`."""
    body = {
        "model": "demo",
        "prompt": "How do I pull a model?",
        "think": False,
        "stream": False,
        "options": {"temperature": 0, "num_predict": 24},
    }
    answer = httpx.post(server.url + "/api/generate", json=body, timeout=60, trust_env=False).json()
    return str(answer["response"])


@pytest.mark.loop
def test_a_stream_is_the_text_that_http_gives_token_by_token(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        messages = stream(channel, "GenerateStream", prompt())
    assert "".join(message.token for message in messages) == spoken(server)
    assert len(messages) > 5
    assert [message.done for message in messages] == [False] * (len(messages) - 1) + [True]
    assert messages[0].backend_used == "CPU"
    last = messages[-1]
    assert (last.finish_reason, last.stats.tokens) == ("length", 24)
    assert last.stats.prompt_tokens > 5
    assert last.stats.tokens_per_second > 0
    assert last.stats.total_ms >= last.stats.ttft_ms
    assert (last.routing.backend, last.routing.executed) == ("CPU", "CPU")
    assert last.routing.reason
    assert len(last.routing.model) == 64


def test_a_whole_answer_is_the_stream_in_one_message(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        answer, call = method(channel, "Generate").with_call(prompt(), timeout=60)
    assert answer.response == spoken(server)
    assert (answer.backend_used, answer.finish_reason) == ("CPU", "length")
    assert answer.stats.tokens == 24
    told = dict(call.initial_metadata())
    assert told["x-npu-proxy-device"] == answer.routing.executed
    assert told["x-npu-proxy-route-reason"] == answer.routing.reason
    assert int(told["x-npu-proxy-token-count"]) == answer.stats.prompt_tokens


def test_compiled_clients_of_the_ollama_proxy_are_answered_too(server: RunningServer) -> None:
    """They know the service by another name."""
    with dial(server.grpc) as channel:
        answer = method(channel, "Generate", PROXY_SERVICE)(prompt(options=GREEDY), timeout=60)
    assert answer.response == spoken(server)


def test_a_model_that_is_not_there_is_not_found(server: RunningServer) -> None:
    with dial(server.grpc) as channel, pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        ask(channel, "Generate", pb.GenerateRequest(model="nothing", prompt="a"))
