"""A client of the gRPC door: grpcio's own, with the committed messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.grpc.operations import SERVICE

WAIT_S = 60.0
GREEDY = pb.Options(temperature=0, max_tokens=24)
BABBLE = pb.Options(temperature=1000, top_k=0, top_p=1, seed=6, max_tokens=100_000)
"""At this temperature every token is as likely as the end: long answers."""

_METHODS = pb.DESCRIPTOR.services_by_name["OllamaProxy"].methods_by_name


@contextmanager
def dial(address: str, credentials: grpc.ChannelCredentials | None = None) -> Iterator[grpc.Channel]:
    with (
        grpc.secure_channel(address, credentials)
        if credentials
        else grpc.insecure_channel(address) as channel
    ):
        yield channel


def method(channel: grpc.Channel, name: str, service: str = SERVICE) -> Any:
    """What a generated stub has under that name."""
    described = _METHODS[name]
    kind = channel.unary_stream if name.endswith("Stream") else channel.unary_unary
    return kind(
        f"/{service}/{name}",
        request_serializer=getattr(pb, described.input_type.name).SerializeToString,
        response_deserializer=getattr(pb, described.output_type.name).FromString,
    )


def ask(channel: grpc.Channel, name: str, request: Any, **metadata: str) -> Any:
    """The answer of a method that does not stream. Underscores in the names of `metadata` are dashes."""
    return method(channel, name)(request, timeout=WAIT_S, metadata=sent(metadata))


def sent(metadata: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((key.replace("_", "-"), value) for key, value in metadata.items())


def stream(channel: grpc.Channel, name: str, request: Any, **metadata: str) -> list[Any]:
    """All messages of an answer."""
    return list(method(channel, name)(request, timeout=WAIT_S, metadata=sent(metadata)))


def refusal(channel: grpc.Channel, name: str, request: Any, **metadata: str) -> tuple[grpc.StatusCode, str]:
    """Code and words."""
    with pytest.raises(grpc.RpcError) as refused:
        ask(channel, name, request, **metadata)
    assert isinstance(refused.value, grpc.Call)
    return refused.value.code(), refused.value.details()


def prompt(words: str = "How do I pull a model?", **fields: Any) -> pb.GenerateRequest:
    given: dict[str, Any] = {"model": "demo", "prompt": words, "think": False, "options": GREEDY}
    return pb.GenerateRequest(**given | fields)
