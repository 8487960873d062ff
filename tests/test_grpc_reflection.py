"""What the gRPC door tells of itself: by reflection, in both of its versions."""

from __future__ import annotations

from typing import Any

from conftest import RunningServer
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_client import dial
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from npuproxy.grpc.operations import SERVICE


def test_a_client_without_the_proto_learns_it_by_reflection(server: RunningServer) -> None:
    """As grpcurl does."""
    with dial(server.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
        service = DescriptorPool(database).FindServiceByName(SERVICE)
        described = service.methods_by_name["Generate"]
        request: Any = GetMessageClass(described.input_type)(model="demo", prompt="Hello")
        request.options.max_tokens = 4
        call: Any = channel.unary_unary(
            f"/{SERVICE}/Generate",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        answer: Any = call(request, timeout=60)
    assert answer.stats.tokens == 4


def test_clients_that_know_the_first_version_of_reflection_alone_are_told_the_same(
    server: RunningServer,
) -> None:
    """Its messages, but for the name of their package, are those of v1alpha."""
    v1 = "grpc.reflection.v1.ServerReflection"
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *[reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in (SERVICE, v1)],
    ]
    with dial(server.grpc) as channel:
        call: Any = channel.stream_stream(
            f"/{v1}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        listed, *files = call(iter(asked), timeout=60)
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health", v1, "grpc.reflection.v1alpha.ServerReflection"} == names
    for name, file in zip((SERVICE, v1), files, strict=True):
        described = [
            FileDescriptorProto.FromString(one) for one in file.file_descriptor_response.file_descriptor_proto
        ]
        services = {f"{one.package}.{service.name}" for one in described for service in one.service}
        assert name in services
