"""A client of /v1/stream/ws: the library `websockets`, unmodified."""

from __future__ import annotations

import json
from typing import Any

from conftest import RunningServer
from websockets.sync.client import ClientConnection, connect

BABBLE = {"temperature": 1000.0, "top_k": 0, "top_p": 1.0, "seed": 6}
"""At this temperature every token is as likely as the end: long answers."""

Answer = list[dict[str, Any]]
"""The messages of one request, the last of which is `done`."""


def dial(server: RunningServer, path: str = "/v1/stream/ws", **more: Any) -> ClientConnection:
    """`more`: of `websockets.sync.client.connect`."""
    url = server.url.replace("http", "ws", 1) + path
    opened: ClientConnection = connect(url, proxy=None, open_timeout=60, **more)
    return opened


def send(socket: ClientConnection, request_id: str, **fields: Any) -> None:
    body = {"request_id": request_id, "model": "demo", "prompt": "Hello", "think": False}
    socket.send(json.dumps(body | fields))


def receive(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=60))
    return message


def answers(socket: ClientConnection, *request_ids: str) -> dict[str, Answer]:
    """Until all of these are done; by request."""
    found: dict[str, Answer] = {}
    waiting = set(request_ids)
    while waiting:
        message = receive(socket)
        found.setdefault(message["request_id"], []).append(message)
        if message["done"]:
            waiting.discard(message["request_id"])
    return found


def ask(socket: ClientConnection, request_id: str = "one", **fields: Any) -> Answer:
    send(socket, request_id, **fields)
    return answers(socket, request_id)[request_id]


def text(answer: Answer) -> str:
    return "".join(message["token"] for message in answer)
