"""Reflection tells what the service is like: to whom may call it, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from compat_api.errors import Failure
from npuproxy.gate import Gate
from npuproxy.grpc import codes
from npuproxy.grpc.call import address, given
from npuproxy.grpc.operations import REFLECTION

_PREFIX = "/grpc.reflection."
V1: Final = "grpc.reflection.v1.ServerReflection"
"""The messages are those of v1alpha, and what they are called is not on the wire; newer clients ask for no other."""


def enable(names: Sequence[str], server: grpc.aio.Server) -> None:
    """Tells of these services and of itself, as v1 and as v1alpha; grpcio-reflection has that alone."""
    _describe_v1()
    every = (*names, reflection.SERVICE_NAME, V1)
    reflection.enable_server_reflection(every, server)
    tells = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(every).ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": tells}),)
    )


def _describe_v1() -> None:
    """Into the pool of what can be described, once."""
    pool, file = descriptor_pool.Default(), descriptor_pb2.FileDescriptorProto()
    name = "grpc/reflection/v1/reflection.proto"
    try:
        pool.FindFileByName(name)
        return
    except KeyError:
        pass
    text = text_format.MessageToString(_file_of(reflection_pb2.DESCRIPTOR))
    text_format.Parse(text.replace("grpc.reflection.v1alpha", "grpc.reflection.v1"), file)
    file.name = name
    pool.Add(file)


def _file_of(described: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    described.CopyToProto(file)
    return file


class Guard(grpc.aio.ServerInterceptor):
    """Puts the gate before the methods of reflection."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(_PREFIX):
            return handler
        return grpc.stream_stream_rpc_method_handler(
            self._guarded(handler.stream_stream), handler.request_deserializer, handler.response_serializer
        )

    def _guarded(self, serve: Any) -> Any:
        async def guarded(asked: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            judged = await self._gate.admit(REFLECTION, given(context), address(context))
            if isinstance(judged, Failure):
                await context.abort(codes.code(judged.status), codes.details(judged), codes.trailers(judged))
            async for answer in serve(asked, context):
                yield answer

        return guarded
