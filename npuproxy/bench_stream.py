"""The server's HTTP layer with a consumer that only writes: what it buffers for a client that does not read.

A child process of the benchmark: `manage.py bench --serve-stream` prints its port and serves until its end.
POST /api/chat with {"bytes": n} is answered by a stream of that length.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable

from django.conf import settings

from compat_api.consumer import InferenceConsumer, Message, Receive, Send
from compat_api.errors import Failure
from npuproxy import event_loop, listening

CHUNK = b'{"message":{"role":"assistant","content":"token"},"done":false}\n' * 64
"""4 KB, as many steps of a fast model together."""


class WritingConsumer(InferenceConsumer):
    """Writes as the consumers of generations do, as long as the transport takes it."""

    async def handle(self, body: bytes) -> None:
        left = int(json.loads(body)["bytes"])
        await self.begin(b"application/x-ndjson", [])
        while left > 0:
            await self.write(CHUNK[:left])
            left -= len(CHUNK)
        await self.finish()

    def stream_error(self, failure: Failure) -> bytes:
        return b""


async def application(scope: Message, receive: Receive, send: Send) -> None:
    await WritingConsumer()(scope, receive, send)


class Nothing:
    """No engine to start or to stop."""

    async def start(self, adopt: Callable[[socket.socket], None]) -> None:
        pass

    async def drain(self, timeout_s: float) -> None:
        pass

    async def stop(self) -> None:
        pass


def serve(application: Callable[[Message, Receive, Send], Awaitable[None]] = application) -> None:
    """Until SIGTERM."""
    sockets = listening.open_sockets("127.0.0.1", 0)
    port: int = sockets[0].getsockname()[1]
    loop = event_loop.install(settings.EVENT_LOOP)
    from npuproxy.channel import Limits  # below here Twisted's reactor is the one just installed
    from npuproxy.gate import Gate, Rules
    from npuproxy.origins import Hosts, Origins
    from npuproxy.peers import Peers
    from npuproxy.server import Server

    rules = Rules(
        hosts=Hosts(()), origins=Origins(()), peers=Peers((), ()), guards_all=True, version=settings.VERSION
    )
    gate = Gate(rules, application, application)
    limits = Limits(settings.MAX_BODY_BYTES, settings.READ_TIMEOUT_S)
    Server(gate, limits, Nothing(), lambda: print(port, flush=True)).run(sockets, loop, plain_signals=False)
