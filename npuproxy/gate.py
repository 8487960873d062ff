"""The one gate: everything that arrives passes here first, and what it decides is decided.

In this order, for HTTP and WebSocket alike: the path's shape, Host, Origin, the operation (resolved once,
written into the scope, and everything behind routes by it), the key and its limits. server.py asks `judge`
already when the headers of a request with a large body have arrived, so that a body nobody will read is not
received.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from django.db import DatabaseError

from compat_api import errors
from compat_api.urls import Resolved, dialect_of, endpoint_of, resolve
from inference import metrics
from npuproxy import callers, logs, preflight
from npuproxy.origins import Hosts, Origins
from npuproxy.peers import Header, Peers
from registry.key import Key

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_ODD = re.compile(r"//|;|\\|/\.\.?(/|$)")
"""Spellings that one reader of a path takes for another one; no path of ours has them."""

_NOT_OF_AN_ID = re.compile(rb"[^A-Za-z0-9._:/=+-]+")
_LONGEST_ID = 128
_REQUEST_ID_HEADERS = (b"x-request-id", b"x-npu-proxy-request-id")
_UPGRADE = "this is a WebSocket: connect to it with ws:// or wss://"
_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class Answer(NamedTuple):
    """A whole response that the gate gives itself."""

    status: int
    headers: list[Header]
    body: bytes


class Passed(NamedTuple):
    """The request goes on. `headers` are added to its response; `key` has its bounds; who is `trusted` needs none."""

    resolved: Resolved
    headers: list[Header]
    key: Key | None = None
    trusted: bool = False


class Rules(NamedTuple):
    """What the gate judges by."""

    hosts: Hosts
    origins: Origins
    peers: Peers
    guards_all: bool
    """Bound to loopback, or NPU_PROXY_ALLOWED_HOSTS set: check Host for everyone, not only for who needs no
    key.
    """
    version: str
    keys: callers.Keys = callers.NoKeys()
    use: callers.Use = callers.NoKeys()


class Gate:
    """ASGI application in front of all others."""

    def __init__(
        self,
        rules: Rules,
        inference: Application,
        django: Application,
        sockets: Mapping[str, Application] = {},
    ) -> None:
        """`sockets`: by path, the WebSockets of pages."""
        self._rules = rules
        self._sockets = sockets
        self._inference = inference
        self._django = django

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        request_id, extra = self.identity(scope["path"], scope["headers"])
        logs.request_id.set(request_id)
        method = scope.get("method", "GET")
        verdict = await self._judge_current(method, scope, request_id)
        if isinstance(verdict, Passed):
            verdict = self._of_its_kind(scope, verdict, request_id)
        if isinstance(verdict, Answer):
            self._log_refusal(method, scope, verdict.status)
            metrics.refused(endpoint_of(scope["path"]) or metrics.OTHER, verdict.status)
            await _refuse(scope, send, verdict._replace(headers=verdict.headers + extra))
            return
        scope["npuproxy.resolved"] = verdict.resolved
        scope["npuproxy.dialect"] = dialect_of(scope["path"], scope["headers"])
        scope["npuproxy.request_id"] = request_id
        scope["npuproxy.key"] = verdict.key
        scope["npuproxy.trusted"] = verdict.trusted
        if scope["type"] == "websocket":
            scope["npuproxy.rejudge"] = partial(self._rejudge, verdict.resolved, scope)
            scope["npuproxy.holds"] = partial(self._holds, verdict.resolved, scope)
        await self._pass_on(scope, receive, send, verdict, extra + verdict.headers)

    async def _judge_current(self, method: str, scope: Message, request_id: str) -> Answer | Passed:
        """`judge`, after a look for keys that were made a moment ago, and the limits of the key."""
        path, headers, client = scope["path"], scope["headers"], scope["client"]
        verdict = self.judge(method, path, headers, client, request_id)
        if (isinstance(verdict, Answer) or verdict.key is None) and await self._looked_for_keys(headers):
            verdict = self.judge(method, path, headers, client, request_id)
        if isinstance(verdict, Answer) or verdict.key is None:
            return verdict
        over = self._over_limit(verdict.key)
        if over is None:
            return verdict
        status, message, code, more, _ = over
        dialect, head = dialect_of(path, headers), method == "HEAD"
        answer = errors.render(dialect, status, message, code=code, request_id=request_id, head=head)
        fields = [(name.lower().encode(), value.encode()) for name, value in more.items()]
        return Answer(status, [*answer[1], *fields, *verdict.headers], answer[2])

    async def _looked_for_keys(self, headers: list[Header]) -> bool:
        """Whether there may be keys in memory now that were not before."""
        if not callers.sends_new_key(headers, self._rules.keys.find):
            return False
        try:
            await self._rules.keys.refresh()
        except DatabaseError as error:
            logger.error("an API key could not be looked for: %s", error)
        return True

    async def admit(
        self, resolved: Resolved, headers: list[Header], peer: str
    ) -> Key | errors.Failure | None:
        """A call that is no HTTP request, judged and counted as one. `peer`: the caller's address."""
        operation = resolved.operation
        assert operation is not None, "only what is in a table of operations is called"
        origin = _single(headers, b"origin")
        if origin is None or (origin and not self._rules.origins.allows(origin)):
            return errors.Failure(403, "pages of that origin may not ask here", None, {})
        await self._looked_for_keys(headers)
        scope = {"path": operation.path, "headers": headers, "client": (peer, 0)}
        return self._rejudge(resolved, scope)

    def _of_its_kind(self, scope: Message, passed: Passed, request_id: str) -> Answer | Passed:
        """A WebSocket where there is one, and a request where there is none."""
        operation = passed.resolved.operation
        is_socket = operation.socket if operation is not None else scope["path"] in self._sockets
        if is_socket == (scope["type"] == "websocket"):
            return passed
        dialect = dialect_of(scope["path"], scope["headers"])
        if not is_socket:
            return Answer(*errors.unrouted(dialect, request_id=request_id))
        answer = Answer(*errors.render(dialect, 426, _UPGRADE, request_id=request_id))
        upgrade = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        return answer._replace(headers=answer.headers + upgrade + passed.headers)

    def _over_limit(self, key: Key) -> errors.Failure | None:
        """Counts a request of the key."""
        wait_s, limit = self._rules.use.begin(key)
        if not wait_s:
            return None
        message = f"this API key has used its {limit} of this minute; try again in {wait_s} s"
        return errors.Failure(429, message, "rate_limit_exceeded", {"Retry-After": str(wait_s)})

    def _rejudge(self, resolved: Resolved, scope: Message) -> Key | errors.Failure | None:
        """For each request on a WebSocket: its key may have ended since the handshake, and has limits."""
        headers, peer = scope["headers"], scope["client"]
        trusted = self._rules.peers.is_trusted(peer[0] if peer else "", headers)
        key = callers.judge(resolved, scope["path"], trusted, headers, self._rules.keys.find)
        if isinstance(key, callers.Refused):
            return errors.Failure(*key, {})
        return key if key is None else self._over_limit(key) or key

    def _holds(self, resolved: Resolved, scope: Message) -> bool:
        """Whether who was let in would be let in now; counts no request."""
        headers, peer = scope["headers"], scope["client"]
        trusted = self._rules.peers.is_trusted(peer[0] if peer else "", headers)
        key = callers.judge(resolved, scope["path"], trusted, headers, self._rules.keys.find)
        return not isinstance(key, callers.Refused)

    def identity(self, path: str, headers: list[Header]) -> tuple[str, list[Header]]:
        """The id of a request, its own or a new one, and the headers that every answer to it carries."""
        request_id = _request_id(headers)
        shown = request_id.encode()
        extra = [(b"x-request-id", shown), (b"x-npu-proxy-version", self._rules.version.encode())]
        if dialect_of(path, headers) == "anthropic":
            extra.append((b"request-id", shown))  # which its SDKs show
        return request_id, extra

    def _log_refusal(self, method: str, scope: Message, status: int) -> None:
        """An operator must see why a client is refused; what is merely not there is no news."""
        given = dict(scope["headers"])
        host, origin = (given.get(name, b"-").decode("latin-1") for name in (b"host", b"origin"))
        peer = scope["client"][0] if scope["client"] else "-"
        level = logging.INFO if status in (401, 403, 429) else logging.DEBUG
        logger.log(
            level,
            "%s %s -> %d (peer %s, Host %s, Origin %s)",
            method,
            scope["path"],
            status,
            peer,
            host,
            origin,
        )

    async def _pass_on(
        self, scope: Message, receive: Receive, send: Send, passed: Passed, extra: list[Header]
    ) -> None:
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] in _STARTS:
                started = True
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        operation = passed.resolved.operation
        application = self._inference if operation and operation.streaming else self._django
        if operation is None and scope["path"] in self._sockets:
            application = self._sockets[scope["path"]]
        try:
            await application(scope, receive, send_with_headers)
        except Exception:
            if (
                started or scope["type"] == "websocket"
            ):  # server.py cuts the connection, so that half an answer never looks like a whole one
                raise
            logger.exception("%s %s failed", scope["method"], scope["path"])
            dialect, request_id = scope["npuproxy.dialect"], scope["npuproxy.request_id"]
            whole = errors.render(dialect, 500, "internal server error", request_id=request_id)
            await _refuse(scope, send_with_headers, Answer(*whole))

    def judge(
        self,
        method: str,
        path: str,
        headers: Iterable[Header],
        client: Iterable[Any] | None,
        request_id: str | None = None,
    ) -> Answer | Passed:
        """The whole decision; reads nothing but its arguments."""
        headers = list(headers)
        host, origin = _single(headers, b"host"), _single(headers, b"origin")
        peer = str(next(iter(client))) if client else ""
        trusted = self._rules.peers.is_trusted(peer, headers)
        if not self._is_host_good(host, trusted):
            return _empty(403)
        cross = self._cross_origin(origin, host)
        if isinstance(cross, Answer):
            return cross
        if cross and method == "OPTIONS":
            return Answer(204, cross + preflight.allowed(headers), b"")
        dialect = dialect_of(path, headers)
        passed = self._route(method, path, dialect, request_id)
        if isinstance(passed, Answer):
            return passed._replace(headers=passed.headers + cross)
        key = callers.judge(passed.resolved, path, trusted, headers, self._rules.keys.find)
        if not isinstance(key, callers.Refused):
            return passed._replace(headers=cross, key=key, trusted=trusted)
        status, words, code = key
        head = method == "HEAD"
        answer = errors.render(dialect, status, words, code=code, request_id=request_id, head=head)
        asks = [(b"www-authenticate", b"Bearer")] if status == 401 else []
        return Answer(status, answer[1] + asks + cross, answer[2])

    def _is_host_good(self, host: str | None, trusted: bool) -> bool:
        if not trusted and not self._rules.guards_all:
            return True
        return host is not None and self._rules.hosts.allows(host)

    def _cross_origin(self, origin: str | None, host: str | None) -> list[Header] | Answer:
        """The CORS headers of an allowed origin; none for a request of no other origin; 403 for the rest."""
        if origin is None:
            return _empty(403)
        if not origin or Origins.is_same(origin, host or ""):
            return []
        if not self._rules.origins.allows(origin):
            return _empty(403)
        allowed = b"*" if self._rules.origins.everyone else origin.encode("latin-1")
        return [(b"access-control-allow-origin", allowed), (b"vary", b"Origin")]

    def _route(self, method: str, path: str, dialect: str, request_id: str | None) -> Answer | Passed:
        allowed: tuple[str, ...] = ()
        if path.startswith("/") and path.isprintable() and not _ODD.search(path):
            resolved = resolve(method, path)
            allowed = resolved.allowed
            if resolved.operation is not None or (not allowed and callers.page_of(path) is not None):
                return Passed(resolved, [])
        head = method == "HEAD"
        return Answer(*errors.unrouted(dialect, allowed, request_id=request_id, head=head))


def _single(headers: list[Header], name: bytes) -> str | None:
    """The header's value, '' when it is absent, None when it is there more than once."""
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        return None
    return values[0].decode("latin-1") if values else ""


def _request_id(headers: Iterable[Header]) -> str:
    """The client's, or that of the server of ours that sends the request on; else a new one. What may not stand in a
    log is replaced, and no request is refused for its name."""
    given = {name: value for name, value in headers if name in _REQUEST_ID_HEADERS}
    for name in _REQUEST_ID_HEADERS:
        clean = _NOT_OF_AN_ID.sub(b"_", given.get(name, b"").strip())[:_LONGEST_ID]
        if clean.strip(b"_"):
            return clean.decode("ascii")
    return "req_" + secrets.token_hex(12)


def _empty(status: int) -> Answer:
    return Answer(status, [(b"content-length", b"0")], b"")


async def _refuse(scope: Message, send: Send, answer: Answer) -> None:
    """The answer to a handshake goes over HTTP, where the server below can; else its status is in the code."""
    socket = scope["type"] == "websocket"
    if socket and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4000 + answer.status})
        return
    kind = "websocket.http.response" if socket else "http.response"
    await send({"type": f"{kind}.start", "status": answer.status, "headers": answer.headers})
    await send({"type": f"{kind}.body", "body": answer.body})
