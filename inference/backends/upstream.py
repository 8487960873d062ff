"""HTTP to other servers: one session for all of them, bounded in size and in time, and no key to any other host.

What went wrong becomes RemoteFailed or RemoteRefused here, in words that name the backend and never its key or address.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from time import time
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from inference.errors import RemoteFailed, RemoteRefused, RemoteTooLong
from inference.remote import RemoteSpec

REQUEST_ID = "X-NPU-Proxy-Request-ID"
"""Where X-Request-ID would be: llama-cpp-python's server takes UUIDs alone there, and answers 400 to any other."""
VIA = "X-NPU-Proxy-Via"
"""Names the servers that a request came through. Via itself would make it a stranger's: a server on this machine takes
such a header for a proxy's."""
CONNECT_S = 10.0
LIST_S = 20.0
LONGEST_LIST = 8 * 1024 * 1024
LONGEST_ANSWER = 128 * 1024 * 1024
LONGEST_ERROR = 64 * 1024
IDLE_S = 60.0
"""Connections are kept this long; one that the other side closes meanwhile is seen and left alone."""
LONGEST_RETRY_S = 3600.0
_KEY_REFUSED = (401, 403)
_FULL = (429, 503, 529)
_OWN_FAULTS = (402, 407, 408)
"""Statuses below 500 that say nothing of the request."""
_UNFIT = (400, 413, 422)
_TOO_LONG = (
    re.compile(
        r"maximum context length is (?P<limit>\d{1,9}) tokens.{0,80}resulted in (?:at least )?(?P<tokens>\d{1,9})"
    ),
    re.compile(
        r"maximum context length is (?P<limit>\d{1,9}) tokens.{0,80}\((?P<tokens>\d{1,9}) in (?:the|your) "
    ),
    re.compile(r"prompt is too long: (?P<tokens>\d{1,9}) tokens > (?P<limit>\d{1,9})"),
    re.compile(r"prompt has (?:at least )?(?P<tokens>\d{1,9}) tokens, the context holds (?P<limit>\d{1,9})"),
    re.compile(
        r"\((?P<tokens>\d{1,9}) tokens\) exceeds the available context size \((?P<limit>\d{1,9}) tokens"
    ),
)
"""How OpenAI, vLLM and llama-cpp-python, Anthropic, this program and llama-server say that a prompt is too long."""


class Connection(ResponseHandler):
    """aiohttp's own, that also says when something has come, after it was read: bytes, their end or a fault."""

    on_data: Callable[[], None] | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.on_data is not None:
            self.on_data()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.on_data is not None:
            self.on_data()


def _connector() -> aiohttp.TCPConnector:
    connector = _Connector(limit=0, keepalive_timeout=IDLE_S, ttl_dns_cache=30)
    loop = asyncio.get_running_loop()
    connector._factory = partial(Connection, loop=loop)  # type: ignore[assignment]  # no public place for it
    return connector


def connection_of(response: aiohttp.ClientResponse) -> Connection | None:
    """None once the body has come whole: the connection may be another request's then."""
    protocol = response.connection.protocol if response.connection is not None else None
    return protocol if isinstance(protocol, Connection) else None


class Session:
    """Made on the event loop. Follows no redirect, keeps no cookie, asks no proxy of the environment."""

    def __init__(self) -> None:
        self._http = aiohttp.ClientSession(
            connector=_connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
        )

    async def open(
        self,
        spec: RemoteSpec,
        tls: ssl.SSLContext | bool,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> aiohttp.ClientResponse:
        """The head of an answer, whatever its status; POST with a body, else GET. Raises RemoteFailed.

        A connection that had been idle may be closed over there in the very moment in which the request goes out: then,
        and only then, it goes out again. What was sent over a fresh one may have run.
        """
        bound_s = spec.first_byte_s if body is not None else LIST_S
        again = True
        while True:
            _fresh.set(False)
            try:
                async with asyncio.timeout(bound_s):
                    return await self._http.request(
                        "GET" if body is None else "POST", spec.address(path), data=body, headers=headers,
                        allow_redirects=False, ssl=tls,
                    )  # fmt: skip
            except TimeoutError:
                raise RemoteFailed(spec.id, f"no answer began within {bound_s:g} s", status=504) from None
            except (aiohttp.ServerDisconnectedError, OSError) as error:
                if _fresh.get() or not again:
                    raise _away(spec.id, words(error)) from None
                again = False
            except (aiohttp.ClientError, ValueError) as error:
                raise RemoteFailed(spec.id, words(error)) from None

    async def close(self) -> None:
        await self._http.close()


_fresh: ContextVar[bool] = ContextVar("fresh")
"""Of the request that this task sends: over a connection that was made for it."""


class _Connector(aiohttp.TCPConnector):
    """Says when it makes a connection, in the method that connectors of aiohttp are made of.

    Its tracing would do too, and costs each request a tenth of its time.
    """

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        _fresh.set(True)
        return await super()._create_connection(req, traces, timeout)


def _away(backend: str, message: str) -> RemoteFailed:
    error = RemoteFailed(backend, message)
    error.away = True
    return error


def words(error: Exception) -> str:
    """What happened to a connection, without addresses."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return "its TLS certificate is not trusted; name its authority, or turn verification off for this backend"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "it does not speak TLS as expected; is it http rather than https?"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        code = error.os_error.errno
        why = os.strerror(code).lower() if code else "connection refused"
        return f"it cannot be reached ({why}); is it running?"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return "it does not answer in HTTP as it should, or with a head beyond all bounds"
    return "the connection broke"


async def read(backend: RemoteSpec, response: aiohttp.ClientResponse, within_s: float) -> bytes:
    """What is there of the body, waited for if need be; b'' at its end. Raises RemoteFailed."""
    try:
        async with asyncio.timeout(within_s):
            return await response.content.readany()
    except TimeoutError:
        raise silent(backend, within_s) from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise _cut(backend) from None


def here(backend: RemoteSpec, content: aiohttp.StreamReader) -> bytes:
    """What is there of the body; b'' for nothing. Raises RemoteFailed."""
    try:
        return content.read_nowait()
    except (aiohttp.ClientError, OSError, ValueError):
        raise _cut(backend) from None


def silent(backend: RemoteSpec, within_s: float) -> RemoteFailed:
    return RemoteFailed(backend.id, f"nothing came for {within_s:g} s", status=504)


def _cut(backend: RemoteSpec) -> RemoteFailed:
    return RemoteFailed(backend.id, "it ended the answer before it was complete")


_END_S = 1.0
"""How long the end of a body may stay away after the end of its stream."""
_draining: set[asyncio.Task[None]] = set()


def drain(response: aiohttp.ClientResponse) -> None:
    """Reads the rest of a body whose stream has ended, so that its connection is free for the next request. Nobody
    waits for it, and what goes on sending is closed."""
    task = asyncio.get_running_loop().create_task(_drained(response))
    _draining.add(task)
    task.add_done_callback(_draining.discard)


async def _drained(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(_END_S):
            while await response.content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        response.close()
    else:
        response.release()


async def whole(
    backend: RemoteSpec,
    response: aiohttp.ClientResponse,
    most: int,
    within_s: float,
    silence_s: float | None = None,
) -> bytes:
    """All of the body, within `within_s` in all. `silence_s`: the longest one. Raises RemoteFailed, for one of more
    than `most` bytes too."""
    parts, size = [], 0
    silence_s = within_s if silence_s is None else silence_s
    try:
        async with asyncio.timeout(within_s):
            while data := await read(backend, response, silence_s):
                parts.append(data)
                size += len(data)
                if size > most:
                    raise RemoteFailed(backend.id, f"its answer has more than {most // 1024 // 1024} MiB")
    except TimeoutError:
        raise RemoteFailed(
            backend.id, f"its answer was not complete within {within_s:g} s", status=504
        ) from None
    return b"".join(parts)


def judged(backend: str, response: aiohttp.ClientResponse, said: str) -> RemoteFailed:
    """The error that a status other than 200 means. `said`: the words in the body."""
    status = response.status
    if 300 <= status < 400:
        return RemoteFailed(
            backend, f"it answers with a redirect ({status}), which is not followed; give its own URL"
        )
    if status in _KEY_REFUSED:
        return _away(backend, f"it refuses the key that it was given ({status}); set the key of this backend")
    if status in _FULL:
        wait_s = retry_after_s(response.headers.get("Retry-After", ""))
        return RemoteFailed(backend, said or _phrase(status), wait_s, 429 if status == 429 else 503)
    if status >= 500 or status in _OWN_FAULTS or status < 200:
        return RemoteFailed(backend, f"it failed with {status}: {said or _phrase(status)}")
    if status < 300:
        return RemoteFailed(backend, f"it answers {status} where 200 is expected")
    if status in _UNFIT and (numbers := too_long(said)):
        return RemoteTooLong(backend, status, said, *numbers)
    return RemoteRefused(backend, status, said or _phrase(status))


def too_long(said: str) -> tuple[int, int] | None:
    """Prompt tokens and what the context holds, where these words say that the one exceeds the other."""
    for pattern in _TOO_LONG:
        if found := pattern.search(said):
            tokens, limit = int(found["tokens"]), int(found["limit"])
            return (tokens, limit) if tokens >= limit else None
    return None


def retry_after_s(value: str) -> float | None:
    """Of a Retry-After header: seconds or a date; None for neither."""
    if value.strip().isdigit():
        return min(float(value), LONGEST_RETRY_S)
    try:
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - time()), LONGEST_RETRY_S)
    except (ValueError, TypeError):
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)


def executed(backend: str, device: str) -> str:
    """The backend, and its own device where it says which."""
    return f"{backend}/{device}" if device else backend


def tls_of(spec: RemoteSpec) -> ssl.SSLContext | bool:
    """As aiohttp wants it; reads files. Raises OSError, ssl.SSLError among them."""
    if not spec.url.startswith("https:") or (spec.verify_tls and not spec.ca_file):
        return True
    if not spec.verify_tls:
        return False
    context = ssl.create_default_context()
    context.load_verify_locations(spec.ca_file)
    return context
