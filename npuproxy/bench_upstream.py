"""An OpenAI server that plays tokens at a given pace: what requests are forwarded to while forwarding is measured.

A child process of the benchmark: `manage.py bench --serve-upstream` prints its port and serves until its end.
POST /v1/chat/completions: `max_tokens` chunks, `seed` microseconds from one to the next; 0: at once.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Final, cast

from inference.bench_engine import loop_factory

MODEL: Final = "played"
BURST: Final = 64
"""Chunks that are written together where there is no pause between them."""
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _answer(**choice: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-played", "created": 1, "model": MODEL, "choices": [{"index": 0, **choice}]}


def _sse(payload: bytes) -> bytes:
    line = b"data: %b\n\n" % payload
    return b"%x\r\n%b\r\n" % (len(line), line)


def _token(text: str) -> bytes:
    delta = _answer(delta={"content": text}, finish_reason=None)
    return _sse(json.dumps(delta | {"object": "chat.completion.chunk"}).encode())


_TOKENS: Final = _token(" token"), _token(" Token")
"""In turn: LiteLLM's proxy ends a stream that says the same a hundred times."""
TOKEN_END: Final = b'oken"'
"""In the JSON of each."""
_LAST: Final = (
    _sse(json.dumps(_answer(delta={}, finish_reason="stop") | {"object": "chat.completion.chunk"}).encode())
    + _sse(b"[DONE]")
    + b"0\r\n\r\n"
)


class Upstream(asyncio.Protocol):
    """One connection; one request after the other."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._playing is not None:
            self._playing.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(_HEAD_END)
        if not found:
            return
        length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
        wanted = int(length or b"0")
        if len(rest) < wanted:
            return
        self._received = rest[wanted:]
        self._respond(head.partition(b" HTTP/")[0], json.loads(rest[:wanted] or b"{}"))

    def _respond(self, request: bytes, body: dict[str, Any]) -> None:
        if request != b"POST /v1/chat/completions":
            self._whole({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif body.get("stream"):
            tokens, pause_us = int(body.get("max_tokens") or 1), int(body.get("seed") or 0)
            self._playing = asyncio.get_running_loop().create_task(self._play(tokens, pause_us / 1e6))
        else:
            message = {"role": "assistant", "content": " token"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self._whole(
                _answer(message=message, finish_reason="stop") | {"object": "chat.completion", "usage": usage}
            )

    def _whole(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._write(head + body)

    async def _play(self, tokens: int, pause_s: float) -> None:
        self._write(_STREAM_HEAD)
        loop = asyncio.get_running_loop()
        due = loop.time()
        left = tokens
        while left:
            count = 1 if pause_s else min(left, BURST)
            await self._writable.wait()
            self._write(
                _TOKENS[left % 2] if pause_s else b"".join(_TOKENS) * (count // 2) + _TOKENS[0] * (count % 2)
            )
            left -= count
            due += pause_s
            await asyncio.sleep(max(0.0, due - loop.time()))
        self._write(_LAST)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve() -> None:
    """Until SIGTERM."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve())
