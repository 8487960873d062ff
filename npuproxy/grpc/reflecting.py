"""Reflection tells what the service is like: to whom may call it, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from compat_api.errors import Failure
from npuproxy.gate import Gate
from npuproxy.grpc import codes
from npuproxy.grpc.call import address, given
from npuproxy.grpc.operations import REFLECTION

_PREFIX = "/grpc.reflection."


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
