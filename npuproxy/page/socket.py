"""The WebSocket of an open page: /status/ws. The server speaks, the page only listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from channels.consumer import AsyncConsumer

from compat_api import errors
from compat_api.stream_ws.consumer import chosen
from npuproxy.page import publisher
from npuproxy.page.publisher import Page

Message = dict[str, Any]

_GOING_AWAY, _REFUSED = 1001, 4401
LOOK_S = 2.0
"""A key that has ended closes the page within this time."""


class PageConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One open page, until it or the server goes."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        await receive()  # websocket.connect

        async def say(text: str) -> None:
            await send({"type": "websocket.send", "text": text})

        page = Page(say, scope["npuproxy.is_open"])
        pages = publisher.current()
        if pages.is_full:
            words = f"{publisher.MOST_PAGES} pages are open already"
            status, fields, body = errors.render("ollama", 503, words)
            await send({"type": "websocket.http.response.start", "status": status, "headers": fields})
            await send({"type": "websocket.http.response.body", "body": body})
            return
        watch: asyncio.Task[None] | None = None
        try:
            await send({"type": "websocket.accept", "subprotocol": chosen(scope["subprotocols"])})
            pages.join(page)
            if scope.get("npuproxy.key") is not None:
                watch = asyncio.create_task(_close_with_key(scope["npuproxy.holds"], send))
            while True:
                kind = (await receive())["type"]
                if kind == "websocket.disconnect":
                    return
                if kind == "npuproxy.drain":
                    words = "the server is shutting down"
                    await send({"type": "websocket.close", "code": _GOING_AWAY, "reason": words})
                    return
        finally:
            pages.leave(page)
            if watch is not None:
                watch.cancel()


async def _close_with_key(holds: Callable[[], bool], send: Callable[[Message], Awaitable[None]]) -> None:
    while holds():
        await asyncio.sleep(LOOK_S)
    await send({"type": "websocket.close", "code": _REFUSED, "reason": "the key has ended"})
