"""The gRPC door: every method over a real channel, with the facts that HTTP says in its headers."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import grpc
import httpx
import pytest
from conftest import RunningServer
from grpc_client import BABBLE, GREEDY, ask, dial, method, prompt, refusal, stream
from server_rows import eventually

from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.grpc.operations import PROXY_SERVICE, SERVICE

WEATHER = pb.Tool(
    name="get_weather",
    description="The weather of a city",
    parameters='{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
)


def http(server: RunningServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(server.url + path, json=body, timeout=60, trust_env=False)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def spoken(server: RunningServer) -> str:
    """What HTTP answers to `prompt()`."""
    options = {"temperature": 0, "num_predict": 24}
    body = {"model": "demo", "prompt": "How do I pull a model?", "think": False, "stream": False}
    return str(http(server, "/api/generate", body | {"options": options})["response"])


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
    assert last.stats.HasField("energy_wh") == (last.stats.energy_source in ("measured", "estimated"))


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
    eventually(lambda: told["x-request-id"] in server.log())


def test_calls_are_counted_with_all_other_requests(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        ask(channel, "Generate", prompt())
        refusal(channel, "Generate", prompt(), x_forwarded_for="192.0.2.7")
    counted = httpx.get(server.url + "/metrics", trust_env=False).text
    for status in (200, 401):
        line = rf'requests_total{{endpoint="/{SERVICE}/Generate",status="{status}"}} [1-9]'
        assert re.search(line, counted), f"no {status} among the counted requests"


def test_thoughts_are_apart_from_the_text(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        whole = ask(channel, "Generate", prompt(think=True, options=pb.Options(temperature=0)))
        messages = stream(channel, "GenerateStream", prompt(think=True, options=pb.Options(temperature=0)))
    assert whole.thinking
    assert whole.response
    assert whole.thinking == "".join(message.thinking for message in messages)
    assert whole.response == "".join(message.token for message in messages)
    assert 0 < whole.stats.reasoning_tokens < whole.stats.tokens


def test_a_chat_says_what_the_same_chat_says_over_http(server: RunningServer) -> None:
    turns = [("system", "Be brief."), ("user", "How do I pull a model?")]
    messages = [{"role": role, "content": content} for role, content in turns]
    body = {"model": "demo", "messages": messages, "think": False, "stream": False}
    said = http(server, "/api/chat", body | {"options": {"temperature": 0, "num_predict": 24}})["message"][
        "content"
    ]
    said_before = [pb.Message(role=role, content=content) for role, content in turns]
    request = pb.ChatRequest(model="demo", think=False, options=GREEDY, messages=said_before)
    with dial(server.grpc) as channel:
        whole = ask(channel, "Chat", request)
        streamed = stream(channel, "ChatStream", request)
    assert (whole.message.role, whole.message.content) == ("assistant", said)
    assert "".join(message.token for message in streamed) == said
    assert streamed[-1].stats.tokens == whole.stats.tokens == 24


def test_a_tool_is_called_and_its_result_goes_back(server: RunningServer) -> None:
    question = pb.Message(role="user", content="What is the weather in Paris?")
    request = pb.ChatRequest(
        model="demo", think=False, options=pb.Options(temperature=0), messages=[question], tools=[WEATHER]
    )
    with dial(server.grpc) as channel:
        said = ask(channel, "Chat", request).message
        streamed = [call for message in stream(channel, "ChatStream", request) for call in message.tool_calls]
        assert [call.name for call in said.tool_calls] == ["get_weather"]
        assert [(call.name, call.arguments) for call in streamed] == [
            (call.name, call.arguments) for call in said.tool_calls
        ]
        assert "city" in json.loads(said.tool_calls[0].arguments)
        result = pb.Message(role="tool", content="18 °C", tool_call_id=said.tool_calls[0].id)
        request.messages.extend([said, result])
        assert ask(channel, "Chat", request).stats.prompt_tokens > 0


def test_a_format_binds_the_answer(server: RunningServer) -> None:
    schema = (
        '{"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}, "required": ["name"]}'
    )
    with dial(server.grpc) as channel:
        answer = ask(channel, "Generate", prompt(format=schema, options=pb.Options(temperature=0)))
    assert set(json.loads(answer.response)) == {"name"}


def test_vectors_are_those_of_http(server: RunningServer) -> None:
    texts = ["one", "two"]
    vectors = http(server, "/api/embed", {"model": "all-minilm", "input": texts})["embeddings"]
    with dial(server.grpc) as channel:
        one = ask(channel, "Embed", pb.EmbedRequest(model="all-minilm", text="one"))
        two = ask(channel, "Embed", pb.EmbedRequest(model="all-minilm", texts=texts))
    assert list(one.embedding) == pytest.approx(vectors[0], abs=1e-3)
    assert not one.embeddings
    assert [list(vector.values) for vector in two.embeddings] == [
        pytest.approx(vector, abs=1e-3) for vector in vectors
    ]
    assert math.isclose(sum(value**2 for value in one.embedding), 1, abs_tol=1e-3)
    assert one.backend_used == "CPU"
    assert two.stats.prompt_tokens > one.stats.prompt_tokens
    assert two.cached == 2, "the same texts were embedded a moment ago"


def test_models_and_backends_are_listed(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        ask(channel, "Generate", prompt())
        models = {model.name: model for model in ask(channel, "ListModels", pb.ListModelsRequest()).models}
        backends = ask(channel, "ListBackends", pb.ListBackendsRequest()).backends
        others = ask(channel, "ListBackends", pb.ListBackendsRequest(type_filter="unheard-of")).backends
    assert "tools" in models["demo:latest"].capabilities
    assert models["demo:latest"].loaded_on == ["CPU"]
    assert list(models["all-minilm:latest"].capabilities) == ["embedding"]
    cpu = next(backend for backend in backends if backend.id == "CPU")
    assert (cpu.type, cpu.status.state) == ("local", "healthy")
    assert (cpu.hardware, cpu.metrics.slots > 0) == ("cpu", True)
    assert cpu.metrics.requests_per_minute > 0
    assert cpu.metrics.HasField("avg_latency_ms")
    assert "demo:latest" in cpu.metrics.loaded_models
    assert not others


def test_the_mode_is_the_one_that_http_shows(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        before = ask(channel, "GetEfficiency", pb.GetEfficiencyRequest())
        assert "UltraEfficiency" in before.modes
        try:
            quiet = ask(channel, "SetEfficiency", pb.SetEfficiencyRequest(mode="ultra efficiency"))
            shown = httpx.get(server.url + "/efficiency", trust_env=False).json()
            assert quiet.mode == shown["mode"] == "UltraEfficiency"
            assert quiet.limits.max_watts == shown["limits"]["max_watts"]
            assert "INVALID" in str(
                refusal(channel, "SetEfficiency", pb.SetEfficiencyRequest(mode="loud"))[0]
            )
        finally:
            ask(channel, "SetEfficiency", pb.SetEfficiencyRequest(mode=before.mode))


def test_many_streams_share_one_connection(server: RunningServer) -> None:
    with dial(server.grpc) as channel:
        calls = [method(channel, "GenerateStream")(prompt(options=GREEDY), timeout=60) for _ in range(24)]
        texts = ["".join(message.token for message in call) for call in calls]
    assert texts == [spoken(server)] * 24


def test_a_long_stream_comes_whole_to_a_client_with_a_small_window(server: RunningServer) -> None:
    """The server waits for its reader again and again."""
    options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    long = prompt("Hello", options=BABBLE)
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        messages = list(method(channel, "GenerateStream")(long, timeout=60))
    assert messages[-1].done
    assert messages[-1].stats.tokens > 100


def test_compiled_clients_of_the_ollama_proxy_are_answered_too(server: RunningServer) -> None:
    """They know the service by another name."""
    with dial(server.grpc) as channel:
        answer = method(channel, "Generate", PROXY_SERVICE)(prompt(options=GREEDY), timeout=60)
    assert answer.response == spoken(server)
