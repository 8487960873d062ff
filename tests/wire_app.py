"""A server of ours around an application that does what a test asks for: `python wire_app.py <loop>`.

Prints its port, then a line for each thing that happens to a request. Ends when its input closes.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from npuproxy import event_loop, listening

CHUNK = b"0123456789abcdef" * 1024
running: Any = None
"""The server, for an application that looks into it."""


def say(*words: object) -> None:
    print(*words, flush=True)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """?do=…: stream or ask (mb=…), fail, fail-late, silent, head, channels, or length."""
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    do = query.get("do", "length")
    length = 0
    more = True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    if do == "fail":
        raise RuntimeError("before the answer")
    if do == "silent":
        return
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    if do == "channels":
        await send({"type": "http.response.body", "body": str(len(running.http_factory.channels)).encode()})
    elif do == "length":
        await send({"type": "http.response.body", "body": str(length).encode()})
    elif do == "fail-late":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("in the middle")
    elif do == "head":
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
    else:
        await stream(scope, send, int(query["mb"]), ask=do == "ask")


async def stream(scope: dict[str, Any], send: Any, mb: int, ask: bool) -> None:
    try:
        for _ in range(mb * 1024 * 1024 // len(CHUNK)):
            if ask:
                await scope["npuproxy.writable"]()
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            if not ask:
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
        say("streamed")
    except asyncio.CancelledError:
        say("cancelled")
        raise


async def socket_application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A message "flood MB" is answered with so much, "deaf" stops all listening for a while."""
    await receive()
    await send({"type": "websocket.accept"})
    flood: asyncio.Task[None] | None = None
    while (message := await receive())["type"] == "websocket.receive":
        words = message["text"][:20].split()
        if words[0] == "deaf":
            say("deaf")
            await asyncio.sleep(3)
            continue
        flood = asyncio.ensure_future(flooding(send, int(words[1])))
    say("disconnect")
    if flood is not None:
        flood.cancel()


async def flooding(send: Any, mb: int) -> None:
    for _ in range(mb * 1024 * 1024 // len(CHUNK)):
        await send({"type": "websocket.send", "text": CHUNK.decode()})
    say("streamed")


async def listening_for_disconnect(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """As the consumers do: the work beside the disconnect, and the body goes to the work."""
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    work = asyncio.ensure_future(application(scope, queue.get, send))
    try:
        while True:
            incoming = asyncio.ensure_future(receive())
            await asyncio.wait((incoming, work), return_when=asyncio.FIRST_COMPLETED)
            if not incoming.done():
                incoming.cancel()
                break
            if incoming.result()["type"] == "http.disconnect":
                say("disconnect")
                break
            queue.put_nowait(incoming.result())
        if work.done():
            work.result()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class Nothing:
    """A lifecycle without an engine."""

    async def start(self, adopt: object) -> None:
        pass

    async def drain(self, timeout_s: float) -> None:
        pass

    async def stop(self) -> None:
        pass


def main(kind: str, body_bytes: int, read_timeout_s: float) -> None:
    sockets = listening.open_sockets("auto", 0)
    loop = event_loop.install(kind)
    from npuproxy.channel import Limits
    from npuproxy.gate import Gate, Rules
    from npuproxy.origins import Hosts, Origins
    from npuproxy.peers import Peers
    from npuproxy.server import Server

    rules = Rules(Hosts(()), Origins(()), Peers((), ()), True, "0.0.0")

    async def inference(scope: dict[str, Any], receive: Any, send: Any) -> None:
        is_socket = scope["type"] == "websocket"
        await (socket_application if is_socket else listening_for_disconnect)(scope, receive, send)

    gate = Gate(rules, inference, listening_for_disconnect)
    port = sockets[0].getsockname()[1]
    limits = Limits(body_bytes, read_timeout_s, 2.0, 3.0, ping_s=1.0)
    server = Server(gate, limits, Nothing(), lambda: say("port", port))

    global running
    running = server

    def until_closed() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(server.request_stop)

    threading.Thread(target=until_closed, daemon=True).start()
    server.run(sockets, loop, plain_signals=kind == "selector")
    say("stopped")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
