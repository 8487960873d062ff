"""The gate itself with keys: WebSockets are judged like HTTP, limits count once, the newest key is looked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import DatabaseError
from keys import SECRETS, Ring, ring_of_scopes

from npuproxy.gate import Gate, Rules
from npuproxy.origins import Hosts, Origins
from npuproxy.peers import Peers
from registry.key import Key
from registry.key_use import KeyUse

INFER = Key(id=1, name="infer", requests_per_minute=2)


class Latecomers(Ring):
    """Keys that are there after the first look alone."""

    def __init__(self, *keys: tuple[str, Key], broken: bool = False) -> None:
        super().__init__()
        self._late = Ring(*keys)
        self._broken = broken
        self.looks = 0

    async def refresh(self) -> None:
        self.looks += 1
        if self._broken:
            raise DatabaseError("away")
        self._keys = self._late._keys


async def passed_on(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": (scope["npuproxy.key"] or INFER).name.encode()})


def gate(keys: Ring) -> Gate:
    return Gate(Rules(Hosts(()), Origins(()), Peers((), ()), True, "1", keys, KeyUse()), passed_on, passed_on)


def ask(asked: Gate, kind: str = "http", peer: str = "192.0.2.1", **headers: str) -> dict[str, Any]:
    """The first message that the gate sends."""
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": kind, "path": "/api/tags", "client": [peer, 5]}
    scope["headers"] = [(b"host", b"localhost"), *given]
    if kind == "http":
        scope["method"] = "GET"
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read here")

    asyncio.run(asked(scope, receive, send))
    return sent[0]


@pytest.mark.parametrize(
    ("peer", "headers", "code"),
    [
        ("192.0.2.1", {}, 4401),
        ("192.0.2.1", {"authorization": "Bearer ollama"}, 4401),
        ("192.0.2.1", {"authorization": f"Bearer {SECRETS['infer']}"}, 4404),
        ("192.0.2.1", {"x_api_key": SECRETS["infer"]}, 4404),
        ("192.0.2.1", {"x_api_key": SECRETS["infer"], "origin": "https://evil.test"}, 4403),
        ("127.0.0.1", {}, 4404),
        ("127.0.0.1", {"x_forwarded_for": "127.0.0.1"}, 4401),
        ("127.0.0.1", {"origin": "https://evil.test"}, 4403),
    ],
)
def test_a_web_socket_is_judged_like_a_request(peer: str, headers: dict[str, str], code: int) -> None:
    """4404 is for who may ask: there is no socket at this path. A server below that can tell the status and the
    reason before the handshake gets these instead (test_stream_ws_keys)."""
    found = ask(gate(ring_of_scopes()), "websocket", peer, **headers)
    assert found == {"type": "websocket.close", "code": code}


def test_web_sockets_and_requests_have_one_limit() -> None:
    asked = gate(Ring((SECRETS["infer"], INFER)))
    sent = {"x_api_key": SECRETS["infer"]}
    assert ask(asked, **sent)["status"] == 200
    assert ask(asked, "websocket", **sent)["code"] == 4404
    refused = ask(asked, **sent)
    assert refused["status"] == 429
    assert 1 <= int(dict(refused["headers"])[b"retry-after"]) <= 61
    assert ask(asked, "websocket", **sent)["code"] == 4429


def test_a_key_that_is_not_in_memory_is_looked_for_once() -> None:
    keys = Latecomers((SECRETS["infer"], INFER))
    asked = gate(keys)
    assert ask(asked, x_api_key=SECRETS["infer"])["status"] == 200
    assert ask(asked, x_api_key=SECRETS["infer"])["status"] == 200
    assert keys.looks == 1


@pytest.mark.parametrize("sent", ["ollama", "sk-abc", "npk_short", SECRETS["infer"] + "x", ""])
def test_what_is_no_key_of_ours_is_never_looked_for(sent: str) -> None:
    keys = Latecomers()
    asked = gate(keys)
    assert ask(asked, x_api_key=sent)["status"] == 401
    assert ask(asked, x_api_key=sent, peer="127.0.0.1")["status"] == 200
    assert keys.looks == 0


def test_a_database_that_is_away_opens_nothing_and_breaks_nothing() -> None:
    asked = gate(Latecomers(broken=True))
    assert ask(asked, x_api_key=SECRETS["infer"])["status"] == 401
    assert ask(asked, x_api_key=SECRETS["infer"], peer="127.0.0.1")["status"] == 200


def rejudged(asked: Gate, peer: str, **headers: str) -> Any:
    """What the gate says of a second request on a WebSocket."""
    found: list[Any] = []

    async def consumer(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["npuproxy.rejudge"]())
        await send({"type": "websocket.close"})

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "path": "/v1/stream/ws", "client": [peer, 5]}
    asked._inference = consumer

    async def nothing(*_: object) -> Any:
        return None

    asyncio.run(asked({**scope, "headers": [(b"host", b"localhost"), *given]}, nothing, nothing))
    return found[0]


def test_each_request_on_a_web_socket_is_judged_again_and_counted() -> None:
    assert rejudged(gate(ring_of_scopes()), "127.0.0.1") is None
    sent = {"sec_websocket_protocol": f"npuproxy, bearer.{SECRETS['infer']}"}
    assert rejudged(gate(ring_of_scopes()), "192.0.2.1", **sent).name == "infer"
    once = Key(id=1, name="infer", requests_per_minute=1)
    refused = rejudged(gate(Ring((SECRETS["infer"], once))), "192.0.2.1", **sent)
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
