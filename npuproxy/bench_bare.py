"""What forwarding costs with nothing of ours: Daphne as it comes, and aiohttp's bytes sent on as they are.

A child process of the benchmark: `manage.py bench --serve-bare PORT` prints its own port and sends every POST on to
/v1/chat/completions of that port, until its end. It knows no keys, no models, no usage, and holds nobody back.
"""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
from django.conf import settings

from compat_api.consumer import Message, Receive, Send, read_body
from npuproxy import event_loop


def application(port: int) -> Any:
    """ASGI."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    sessions: list[aiohttp.ClientSession] = []

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if not sessions:  # on the loop
            sessions.append(aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()))
        body = await read_body(receive)
        sent = {"Content-Type": "application/json"}
        async with sessions[0].post(url, data=body, headers=sent) as response:
            told = [
                (name.lower().encode(), response.headers[name].encode())
                for name in ("Content-Type", "Content-Length")
                if name in response.headers
            ]
            await send({"type": "http.response.start", "status": response.status, "headers": told})
            while data := await response.content.readany():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answer


def serve(port: int) -> None:
    """Until SIGTERM."""
    listener = socket.create_server(("127.0.0.1", 0))
    event_loop.install(settings.EVENT_LOOP)
    from daphne.server import Server  # below here Twisted's reactor is the one just installed

    print(listener.getsockname()[1], flush=True)
    Server(application(port), endpoints=[f"fd:fileno={listener.fileno()}"]).run()
