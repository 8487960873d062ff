"""Who may use the gRPC door, and where it is: keys, scopes and limits, TLS and mTLS, ports; and its committed code."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from conftest import ROOT, RunningServer, free_port, start_server
from grpc_client import ask, dial, prompt, refusal
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from keys import apikey

from npuproxy import listening
from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.grpc import requests
from npuproxy.listening import ListenError

Code = grpc.StatusCode
REMOTE = {"x_forwarded_for": "192.0.2.7"}
"""What makes a connection of this machine one from elsewhere: a proxy that nobody trusts stands between."""

MODELS = pb.ListModelsRequest()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def home(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Over mTLS; the tests fill it with keys."""
    cert, key = authority.issue("server")
    settings = {
        "NPU_PROXY_DEVICE": "CPU",
        "NPU_PROXY_GRPC_PORT": str(free_port()),
        "NPU_PROXY_TLS_CERT": str(cert),
        "NPU_PROXY_TLS_KEY": str(key),
        "NPU_PROXY_TLS_CLIENT_CA": str(authority.path),
    }
    running = start_server(tmp_path_factory.mktemp("keys"), **settings)
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def channel(home: RunningServer, authority: Authority) -> Iterator[grpc.Channel]:
    cert, key = authority.issue("client", client=True)
    with dial(home.grpc, credentials(authority, cert, key)) as opened:
        yield opened


def credentials(
    authority: Authority, cert: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.path.read_bytes(), key.read_bytes() if key else None, cert.read_bytes() if cert else None
    )


def test_a_client_with_a_certificate_is_answered_and_others_are_not(
    home: RunningServer, channel: grpc.Channel, authority: Authority
) -> None:
    assert ask(channel, "Generate", prompt()).response
    with dial(home.grpc, credentials(authority)) as unknown:
        assert refusal(unknown, "ListModels", MODELS)[0] is Code.UNAVAILABLE
    with dial(home.grpc) as plain:
        assert refusal(plain, "ListModels", MODELS)[0] is Code.UNAVAILABLE


@pytest.mark.parametrize("way", ["authorization", "x_api_key"])
def test_elsewhere_a_key_is_asked_for(home: RunningServer, channel: grpc.Channel, way: str) -> None:
    code, words = refusal(channel, "Generate", prompt(), **REMOTE)
    assert (code, "apikey create" in words) == (Code.UNAUTHENTICATED, True)
    wrong = {way: "Bearer npk_" + "x" * 43 if way == "authorization" else "npk_" + "x" * 43}
    assert refusal(channel, "Generate", prompt(), **REMOTE, **wrong)[0] is Code.UNAUTHENTICATED
    secret = str(apikey(home, "create", f"anna-{way}")["key"])
    given = {way: f"Bearer {secret}" if way == "authorization" else secret}
    assert ask(channel, "Generate", prompt(), **REMOTE, **given).response
    assert f"key=anna-{way}" in home.log()
    assert secret not in home.log()


def test_the_bounds_of_a_key_hold(home: RunningServer, channel: grpc.Channel) -> None:
    bounds = ("--models", "all-mini*", "--requests-per-minute", "4")
    secret = str(apikey(home, "create", "bounded", *bounds)["key"])
    given = {"authorization": f"Bearer {secret}"}
    assert [model.name for model in ask(channel, "ListModels", MODELS, **given).models] == [
        "all-minilm:latest"
    ]
    code, words = refusal(channel, "Generate", prompt(), **given)
    assert (code, "does not allow the model 'demo'" in words) == (Code.PERMISSION_DENIED, True)
    code, words = refusal(channel, "SetEfficiency", pb.SetEfficiencyRequest(mode="Quiet"), **given)
    assert (code, "has the scope infer" in words) == (Code.PERMISSION_DENIED, True)
    assert ask(channel, "Embed", pb.EmbedRequest(model="all-minilm", text="a"), **given).embedding
    assert ask(channel, "ListModels", MODELS, **given).models
    with pytest.raises(grpc.RpcError) as refused:
        ask(channel, "ListModels", MODELS, **given)
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is Code.RESOURCE_EXHAUSTED
    told = dict(refused.value.trailing_metadata())
    assert int(told["grpc-retry-pushback-ms"]) == 1000 * int(told["retry-after"]) > 0


def test_reflection_is_for_whoever_may_ask_and_health_for_everyone(channel: grpc.Channel) -> None:
    assert ProtoReflectionDescriptorDatabase(channel).get_services()
    reflection: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
        list(reflection(iter([b"\x3a\x00"]), timeout=60, metadata=(("x-forwarded-for", "192.0.2.7"),)))
    health = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest()
    assert health.Check(asked, timeout=60, metadata=(("x-forwarded-for", "192.0.2.7"),)).status


def test_a_page_of_another_origin_may_not_ask(channel: grpc.Channel) -> None:
    assert refusal(channel, "ListModels", MODELS, origin="https://evil.test")[0] is Code.PERMISSION_DENIED
    assert ask(channel, "ListModels", MODELS, origin="http://localhost:3000").models


def test_a_port_that_was_asked_for_and_is_taken_is_one_clear_line(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"gRPC: port {port} .* NPU_PROXY_GRPC_PORT"):
            listening.grpc_addresses("127.0.0.1", port, chosen=True)
        assert listening.grpc_addresses("127.0.0.1", port, chosen=False) == []
    assert "going on without gRPC" in caplog.text
    assert listening.grpc_addresses("127.0.0.1", port, chosen=True) == [("127.0.0.1", port)]


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        (pb.Annotations(), []),
        (pb.Annotations(target="npu", latency_critical=True), ["x-target-backend: npu", "x-latency-critical: true"]),
        (pb.Annotations(cache_enabled=False), ["x-cache-enabled: false"]),
        (pb.Annotations(max_latency_ms=50, priority="high"), ["x-max-latency-ms: 50", "x-priority: high"]),
        (pb.Annotations(custom={"deadline_ms": "9"}), ["x-deadline-ms: 9"]),
        (pb.Annotations(custom={"X-Media-Type": "audio", "team": "red"}), ["x-media-type: audio", "x-team: red"]),
    ],
)  # fmt: skip
def test_annotations_say_what_headers_say(annotations: pb.Annotations, said: list[str]) -> None:
    found = requests.annotated(annotations)
    assert sorted(f"{name.decode()}: {value.decode()}" for name, value in found) == sorted(said)


def test_what_is_committed_is_what_the_proto_makes(tmp_path: Path) -> None:
    folder = ROOT / "npuproxy" / "grpc"
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", *out, "ollama_proxy.proto"]
    subprocess.run(command, check=True)
    made: dict[str, Any] = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert set(made) == {"ollama_proxy_pb2.py", "ollama_proxy_pb2.pyi"}
    assert made == {name: (folder / name).read_text("utf-8") for name in made}


def test_the_proxys_clients_find_their_fields_where_they_were() -> None:
    """Name, number and type of what the Ollama Proxy's own messages have."""
    fields = {
        "GenerateRequest": {"prompt": 1, "model": 2, "annotations": 3, "options": 4},
        "GenerateResponse": {"response": 1, "backend_used": 2, "routing": 3, "stats": 4, "from_cache": 5},
        "GenerateStreamResponse": {"token": 1, "done": 2, "backend_used": 3, "stats": 4},
        "EmbedRequest": {"text": 1, "model": 2, "annotations": 3},
        "EmbedResponse": {"embedding": 1, "backend_used": 2, "routing": 3},
        "ListBackendsResponse": {"backends": 1},
    }
    for message, numbers in fields.items():
        described = pb.DESCRIPTOR.message_types_by_name[message].fields_by_name
        assert {name: described[name].number for name in numbers} == numbers
