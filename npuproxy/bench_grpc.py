"""The row of `bench --wire` for gRPC: what a token costs the server down to the socket, beside HTTP's. No engine.

The door is a child process: `manage.py bench --serve-grpc TOKENS` prints its port and serves until its end.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Any, Final

from django.conf import settings

from inference.bench import Row
from inference.bench_engine import cpu_seconds, loop_factory
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.bench_table import Quantity, Result, of_rounds
from inference.types import ChatRequest
from npuproxy import listening
from npuproxy.bench_memory import layer_alone
from npuproxy.bench_wire import played, without_models

TOKENS: Final = 16_384
QUICK_TOKENS: Final = 2_048
METHOD: Final = "ChatStream"
SOCKET: Final = Quantity(name="grpc", what=f"gRPC {METHOD}: a token, down to the socket", unit="µs")


def socket(stage: Stage) -> list[Result]:
    """One client that reads; the same events as HTTP's rows."""
    import grpc

    from npuproxy.grpc import ollama_proxy_pb2 as pb
    from npuproxy.grpc.operations import SERVICE

    tokens = QUICK_TOKENS if stage.quick else TOKENS
    body = pb.ChatRequest(model="demo", messages=[pb.Message(role="user", content="How do I pull a model?")])
    costs: list[float] = []
    with (
        layer_alone("--serve-grpc", str(tokens)) as (process, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        ask: Any = channel.unary_stream(
            f"/{SERVICE}/{METHOD}", request_serializer=pb.ChatRequest.SerializeToString
        )
        for index in range((2 if stage.quick else 5) + 1):
            stage.say(f"grpc: round {index}")
            before = cpu_seconds(process)
            came = sum(1 for _ in ask(body, timeout=120))
            if came < tokens:
                raise BenchError(f"{came} messages for {tokens} tokens")
            if index:
                costs.append((cpu_seconds(process) - before) / tokens * 1e6)
    return [of_rounds(SOCKET, costs)]


ROW: Final = Row((SOCKET,), socket)


def serve(tokens: int) -> None:
    """Until SIGTERM."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(tokens))


async def _serve(tokens: int) -> None:
    from npuproxy.gate import Gate, Rules
    from npuproxy.grpc import call, door
    from npuproxy.origins import Hosts, Origins
    from npuproxy.peers import Peers

    class Playing(call.Generation):
        """The driver of generations with events that exist already."""

        async def handle(self, body: bytes) -> None:
            dialect = self.dialect()
            request = dialect.parse(body)
            assert isinstance(request, ChatRequest)
            self.encoder = dialect.encoder(request)
            await self.finish(await self._write_all_but_last(dialect, played(tokens, steps=True)))
            self.log.close(200)

    async def nowhere(*_: object) -> None:
        """There is no HTTP."""

    without_models()
    rules = Rules(
        hosts=Hosts(()), origins=Origins(()), peers=Peers((), ()), guards_all=True, version=settings.VERSION
    )
    bounds = door.Rules(tls=settings.TLS, max_message_bytes=settings.MAX_BODY_BYTES, read_timeout_s=0)
    (probe,) = listening.open_sockets("127.0.0.1", 0)
    port = probe.getsockname()[1]
    probe.close()
    opened = door.Door(
        Gate(rules, nowhere, nowhere), [("127.0.0.1", port)], bounds, {**door.KINDS, METHOD: Playing}
    )
    await opened.start()
    print(port, flush=True)
    stopped = asyncio.Event()
    with suppress(NotImplementedError):  # on Windows it is ended from outside
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await opened.stop()
