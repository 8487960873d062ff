"""Another server that speaks OpenAI's API and misbehaves as the first part of the path says: a process of its own.

    /good /slow /cut /early /fails /full /garbled /shape /endless /redirect /stranger /nolist /refuses /gone /breaks
    /words /forever /pings /after /drips /hangs /stale /long

`GET /seen` lists what arrived, on either of its two ports. Run as a program it prints the ports and serves.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
TOKENS = ("one", " two", " three")
USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}


class Upstream:
    """What a test knows of it."""

    def __init__(self, port: int, other_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.other_port = other_port

    def seen(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/seen", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found


@contextmanager
def running() -> Iterator[Upstream]:
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Upstream(*map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _event(choice: dict[str, Any], **more: Any) -> bytes:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **more,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _delta(text: str, reason: str | None = None) -> bytes:
    return _event({"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason})


def _whole(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _error(words: str) -> bytes:
    return json.dumps({"error": {"message": words, "type": "x", "param": None, "code": None}}).encode()


def _good(stream: bool) -> bytes:
    if not stream:
        message = {"role": "assistant", "content": "".join(TOKENS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _whole(
            "200 OK", json.dumps({"id": "c", "model": "m", "choices": [choice], "usage": USAGE}).encode()
        )
    usage = (
        b"data: " + json.dumps({"id": "c", "model": "m", "choices": [], "usage": USAGE}).encode() + b"\n\n"
    )
    return SSE + b"".join(map(_delta, TOKENS)) + _delta("", "stop") + usage + b"data: [DONE]\n\n"


async def _apart(writer: asyncio.StreamWriter, pause_s: float) -> None:
    """Each event by itself."""
    for event in _good(stream=True).split(b"\n\n")[:-1]:
        writer.write(event + b"\n\n")
        await writer.drain()
        await asyncio.sleep(pause_s)
    writer.close()


class _Server:
    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.other_port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            fresh = True
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), reader, writer, fresh)
                fresh = False
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fresh: bool
    ) -> None:
        first, *lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = first.split()[1]
        if path == "/seen":
            writer.write(_whole("200 OK", json.dumps(self.seen).encode()))
            return
        port = writer.get_extra_info("sockname")[1]
        self.seen.append({"port": port, "path": path, "headers": headers, "body": body.decode()})
        mode, _, rest = path[1:].partition("/")
        if mode == "stale" and not fresh and body:
            raise ConnectionError  # closed over here just as it is used again
        if rest == "v1/models":
            writer.write(self._list(mode))
        elif rest == "v1/responses":
            writer.write(_whole("404 Not Found", _error("no such path")))
        else:
            await self._misbehave(mode, bool(json.loads(body or b"{}").get("stream")), writer)
        await writer.drain()

    def _list(self, mode: str) -> bytes:
        if mode == "stranger":
            return _whole("401 Unauthorized", _error("who are you?"))
        if mode == "nolist":
            return _whole("200 OK", b"<html>")
        ends = ["Connection: close"] if mode == "hangs" else []
        return _whole("200 OK", json.dumps({"object": "list", "data": [{"id": "m"}]}).encode(), *ends)

    def _at_once(self, mode: str, stream: bool) -> bytes | None:
        """What is sent in one go; None for what takes its time."""
        return {
            "good": _good(stream),
            "words": _good(stream),
            "stale": _good(stream),
            "hangs": b"",
            "fails": _whole("500 Internal Server Error", _error("out of luck")),
            "full": _whole("429 Too Many Requests", _error("too many"), "Retry-After: 7"),
            "shape": _whole("200 OK", b'{"id": "c", "answer": "hello"}'),
            "garbled": _whole("200 OK", b"<html>hello</html>"),
            "redirect": _whole(
                "307 Temporary Redirect", b"", f"Location: http://127.0.0.1:{self.other_port}/good/x"
            ),
            "refuses": _whole("422 Unprocessable Entity", _error("temperature: is too hot")),
            "long": _whole(
                "400 Bad Request",
                _error(
                    "This model's maximum context length is 4096 tokens, however you requested 9005 tokens "
                    "(9000 in your prompt; 5 for the completion)."
                ),
            ),
            "gone": _whole("404 Not Found", _error("no m here")),
            "early": SSE
            + _event({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}),
        }.get(mode)

    async def _misbehave(self, mode: str, stream: bool, writer: asyncio.StreamWriter) -> None:
        whole = self._at_once(mode, stream)
        if whole is not None:
            writer.write(whole)
            await writer.drain()
            if whole and (not whole.startswith(b"HTTP/1.1 200") or b"Content-Length" in whole[:200]):
                return
            writer.close()
        elif mode in ("cut", "breaks"):
            writer.write(SSE + _delta(TOKENS[0]))
            await writer.drain()
            await asyncio.sleep(0.2)
            writer.write(
                b"data: " + _error("the card is gone") + b"\n\n" if mode == "breaks" else b'data: {"id":"c"'
            )
            writer.close()
        elif mode in ("apart", "stalls"):
            await _apart(writer, 600 if mode == "stalls" else 0.02)
        elif mode == "forever":
            writer.write(SSE)
            while True:
                writer.write(_delta(TOKENS[0]))
                try:
                    await writer.drain()
                except ConnectionError:
                    self.seen.append({"port": 0, "path": "/forever/closed", "headers": {}, "body": ""})
                    raise
                await asyncio.sleep(0.02)
        elif mode in ("pings", "after", "drips"):
            writer.write(_good(stream=True) if mode == "after" else SSE)
            if mode == "drips" and stream:
                writer.write(_delta(TOKENS[0]))
            while not writer.is_closing():
                writer.write(b" " if mode == "drips" and not stream else b": ping\n\n")
                await writer.drain()
                await asyncio.sleep(0.1)
        elif mode == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while not writer.is_closing():
                writer.write(b"X-More: " + b"a" * 1000 + b"\r\n")
                await writer.drain()
        else:
            await asyncio.sleep(600)


async def _main() -> None:
    server = _Server()
    listening = [await asyncio.start_server(server.serve, "127.0.0.1", 0) for _ in range(2)]
    ports = [one.sockets[0].getsockname()[1] for one in listening]
    server.other_port = ports[1]
    print(*ports, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
