"""The gRPC server: on the server's own event loop, at the addresses that HTTP has.

1. The addresses were tried before anything started (`listening.grpc_addresses`), so that a taken port is one clear
   line; gRPC binds them itself, at `start`.
2. Health follows readiness, and says NOT_SERVING as soon as the server drains.
3. `drain` waits for running calls; what is left at its end is told so, and cut.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from msgspec import Struct

from compat_api import errors, readiness
from compat_api.errors import Failure
from inference import engine
from inference.errors import ShuttingDown
from npuproxy.gate import Gate
from npuproxy.grpc import reflecting
from npuproxy.grpc.call import CUT_S, Embedding, Generation, Transport
from npuproxy.grpc.catalogue import Catalogue
from npuproxy.grpc.operations import PROXY_SERVICE, RESOLVED, SERVICE
from npuproxy.listening import ListenError
from npuproxy.tls_files import Files

LOOK_S: Final = 1.0
MOST_CALLS: Final = 256
"""At once on one connection; further ones wait on the client's side."""

_STREAMS = frozenset(("GenerateStream", "ChatStream"))
KINDS: Final[dict[str, type[Transport]]] = {
    "Generate": Generation,
    "GenerateStream": Generation,
    "Chat": Generation,
    "ChatStream": Generation,
    "Embed": Embedding,
    "ListModels": Catalogue,
    "ListBackends": Catalogue,
    "GetEfficiency": Catalogue,
    "SetEfficiency": Catalogue,
}


class Rules(Struct, frozen=True, kw_only=True):
    """`read_timeout_s` 0: for ever."""

    tls: Files
    max_message_bytes: int
    read_timeout_s: float


class Door:
    """Use on one event loop. `start` once."""

    def __init__(
        self,
        gate: Gate,
        addresses: Sequence[tuple[str, int]],
        rules: Rules,
        kinds: Mapping[str, type[Transport]] = KINDS,
    ) -> None:
        """`kinds`: who serves each method."""
        self.port = addresses[0][1]
        self._gate = gate
        self._addresses = addresses
        self._rules = rules
        self._kinds = kinds
        self._servers: list[grpc.aio.Server] = []
        self._health = health.aio.HealthServicer()
        self._calls: dict[Transport, asyncio.Task[Any]] = {}
        self._unready: bool | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when calls are answered. Raises ListenError."""
        await self._tell(True)
        await self.listen(self._addresses)
        self._watch = asyncio.create_task(self._watch_all())

    async def listen(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Answers at these addresses too."""
        options = [
            ("grpc.so_reuseport", 0),  # else two servers would share a port and its calls
            ("grpc.max_receive_message_length", self._rules.max_message_bytes),
            ("grpc.max_concurrent_streams", MOST_CALLS),
        ]
        server = grpc.aio.server(options=options, interceptors=(reflecting.Guard(self._gate),))
        for service in (SERVICE, PROXY_SERVICE):
            handlers = {method: self._handler(method) for method in RESOLVED}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflecting.enable((SERVICE, health.SERVICE_NAME), server)
        credentials = _credentials(self._rules.tls)
        for host, port in addresses:
            self._bind(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", credentials)
        await server.start()
        self._servers.append(server)

    def _bind(
        self, server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None
    ) -> None:
        try:
            if credentials is None:
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, credentials)
        except RuntimeError:
            raise ListenError(
                f"gRPC cannot listen on {address}; choose another NPU_PROXY_GRPC_PORT"
            ) from None

    def _handler(self, method: str) -> Any:
        """For gRPC the request is a stream too, so that its message is not received before the gate has judged."""

        async def serve(_: Any, context: Any) -> bytes:
            call = self._kinds[method](self._gate, RESOLVED[method], context)
            task = asyncio.current_task()
            assert task is not None
            self._calls[call] = task
            try:
                return await call.serve()
            finally:
                del self._calls[call]

        if method not in _STREAMS:
            return grpc.stream_unary_rpc_method_handler(serve)

        async def stream(_: Any, context: Any) -> None:
            await serve(_, context)

        return grpc.stream_stream_rpc_method_handler(stream)

    async def drain(self, timeout_s: float) -> None:
        """Health says so at once; running calls have so long to end."""
        await self._tell(True)
        if self._watch is not None:
            self._watch.cancel()
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=timeout_s)

    async def stop(self) -> None:
        """Cuts what still runs, and answers nothing any more."""
        for call in self._calls:
            call.cut(errors.of(ShuttingDown()))
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=2 * CUT_S)
        await asyncio.gather(*(server.stop(CUT_S) for server in self._servers))

    async def _watch_all(self) -> None:
        """Health follows readiness; a client that takes nothing for so long is cut, as on HTTP."""
        patience_s = self._rules.read_timeout_s
        stalled = Failure(
            errors.CLIENT_GONE, f"the client neither sent nor took anything for {patience_s:g} s", None, {}
        )
        while True:
            await self._tell(bool(readiness.reasons(engine.current().snapshot(), readiness.WARM_UP.loading)))
            await asyncio.sleep(LOOK_S)
            oldest = time.monotonic() - patience_s
            for call in tuple(self._calls):
                if patience_s and 0 < call.waiting_since < oldest:
                    call.cut(stalled)

    async def _tell(self, unready: bool) -> None:
        if unready == self._unready:
            return
        self._unready = unready
        found = health_pb2.HealthCheckResponse
        for service in ("", SERVICE):
            await self._health.set(service, found.NOT_SERVING if unready else found.SERVING)


def _credentials(files: Files) -> grpc.ServerCredentials | None:
    """Of the files that HTTP has; `tls.connections` has looked at them."""
    if files.cert is None:
        return None
    chain = files.cert.read_bytes()
    key = (files.key or files.cert).read_bytes()
    roots = files.client_ca.read_bytes() if files.client_ca else None
    return grpc.ssl_server_credentials([(key, chain)], roots, require_client_auth=roots is not None)
