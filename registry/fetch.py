"""One file from the hub to the disk: the request, its redirects, ranges, and when to try again."""

from __future__ import annotations

import logging
import random
import re
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx

from registry import hub_http
from registry.hub import RemoteFile, Repository
from registry.hub_errors import (
    Cancelled,
    Changed,
    DigestMismatch,
    HubError,
    HubUnavailable,
    RateLimited,
    RefusedRedirect,
    Stalled,
    Truncated,
)
from registry.part_file import PartFile, finished

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 5
"""In a row that brought nothing worth speaking of."""
STALLS: Final = 3
"""As many of them in a row are enough: each took NPU_PROXY_PULL_TIMEOUT."""
MOST_ATTEMPTS: Final = 100
PROGRESS_BYTES: Final = 1 << 20
BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 10.0
MAX_WAIT_S: Final = 60.0
"""The longest Retry-After that is waited for."""
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Line:
    """The connections of one transfer: an HTTP client, whose token it carries, and a way to end all at once."""

    def __init__(self, repository: Repository, token: str, *, parallel: int, stall_s: float) -> None:
        self.repo = repository.repo
        self.hub = httpx.URL(repository.endpoint)
        self.stall_s = stall_s
        self.stopped = threading.Event()
        self._token = token
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._client = httpx.Client(
            timeout=httpx.Timeout(stall_s or None, connect=hub_http.CONNECT_S, pool=None),
            limits=httpx.Limits(max_connections=2 * parallel, max_keepalive_connections=parallel),
        )

    def close(self) -> None:
        self._client.close()

    def stop(self) -> None:
        """Wake every thread that waits for a byte."""
        self.stopped.set()
        for connection in list(self._sockets):
            with suppress(OSError):  # base class: TLS's own shutdown would wait for the peer's answer
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def check(self) -> None:
        if self.stopped.is_set():
            raise Cancelled

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The answer after all redirects, its body still to come. Raises RefusedRedirect and HubUnavailable."""
        target = httpx.URL(url)
        for _ in range(hub_http.MAX_REDIRECTS + 1):
            self.check()
            response = self._client.send(self._request(target, headers), stream=True)
            try:
                if not response.has_redirect_location:
                    yield response
                    return
                target = _target(response, self.hub)
            finally:
                response.close()
        raise HubUnavailable(f"the hub at {hub_http.shown(self.hub)} redirects in circles")

    def refusal(self, response: httpx.Response) -> HubError:
        at_home = hub_http.same_origin(response.url, self.hub)
        if not at_home and response.status_code in (
            401,
            403,
        ):  # a signed link that has run out: ask the hub anew
            return HubUnavailable(f"{hub_http.shown(response.url)} refuses a link of the hub; try again")
        return hub_http.refusal(
            response, self.repo, self.hub if at_home else response.url, with_token=bool(self._token)
        )

    def _request(self, target: httpx.URL, headers: Mapping[str, str]) -> httpx.Request:
        headers = {**headers, "Accept-Encoding": "identity", "User-Agent": "npuproxy"}
        if self._token and hub_http.same_origin(target, self.hub):
            headers["Authorization"] = f"Bearer {self._token}"
        return self._client.build_request("GET", target, headers=headers, extensions={"trace": self._trace})

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            found = info["return_value"].get_extra_info("socket")
            if isinstance(found, socket.socket):
                self._sockets.add(found)


def _target(response: httpx.Response, hub: httpx.URL) -> httpx.URL:
    try:
        target = response.url.join(response.headers["Location"])
    except httpx.InvalidURL:
        raise RefusedRedirect(f"the hub at {hub_http.shown(hub)} redirects to no web address") from None
    hub_http.check_redirect(response.url, target)
    hub_http.check_redirect(hub, target)
    return target


class Fetch:
    """One file; `completed` may be read from another thread while it runs."""

    def __init__(self, line: Line, file: RemoteFile, folder: Path) -> None:
        self.line = line
        self.file = file
        self.folder = folder
        self.completed = 0

    def run(self) -> str:
        """Its sha256, once the file lies in the folder under its own name. Raises HubError."""
        if sha256 := finished(self.folder, self.file):
            self.completed = self.file.size
            return sha256
        with PartFile(self.folder, self.file) as part:
            self._fill(part)
            resumed = part.resumed
            try:
                return part.finish()
            except DigestMismatch:
                if not resumed:
                    raise
            logger.warning("%s: what was resumed has a wrong digest; begun anew", self.file.name)
            self._fill(part)
            return part.finish()

    def _fill(self, part: PartFile) -> None:
        """Until the part has the announced size; tried again as long as it is worth it."""
        idle = 0
        for _ in range(MOST_ATTEMPTS):
            before = self.completed = part.size
            if part.size == self.file.size:
                return
            try:
                self._attempt(part)
                continue
            except (Truncated, Stalled, HubUnavailable, RateLimited, Changed) as raised:
                self.line.check()
                error = raised
            idle = 0 if part.size - before >= PROGRESS_BYTES else idle + 1
            pause_s = min(BACKOFF_S * 2.0**idle, MAX_BACKOFF_S) * random.uniform(0.5, 1.0)
            if isinstance(error, RateLimited):
                pause_s = error.retry_after_s
            if idle >= (STALLS if isinstance(error, Stalled) else ATTEMPTS) or pause_s > MAX_WAIT_S:
                raise error
            logger.info("%s at byte %d: %s; tried again in %.1f s", self.file.name, part.size, error, pause_s)
            self.line.stopped.wait(pause_s)
        raise error

    def _attempt(self, part: PartFile) -> None:
        try:
            with self.line.get(self.file.url, _range(part)) as response:
                self._begin(part, response)
                for chunk in response.iter_raw():
                    self.line.check()
                    part.write(chunk)
                    self.completed = part.size
        except httpx.ConnectTimeout as error:
            raise hub_http.unreachable(error, self.line.hub) from None
        except httpx.TimeoutException:
            raise Stalled(
                f"{self.file.name} stalled at byte {part.size}: no byte came for {self.line.stall_s:g} s "
                "(NPU_PROXY_PULL_TIMEOUT); pull again to go on from there"
            ) from None
        except (httpx.ReadError, httpx.RemoteProtocolError):
            raise _truncated(part) from None
        except httpx.HTTPError as error:
            raise hub_http.unreachable(error, self.line.hub) from None
        if part.size < self.file.size:
            raise _truncated(part)

    def _begin(self, part: PartFile, response: httpx.Response) -> None:
        """Check what comes against what is there: a whole file replaces the part, a range continues it."""
        status, headers = response.status_code, response.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            raise HubUnavailable(f"{hub_http.shown(response.url)} sent {self.file.name} compressed")
        if status == 200:
            if int(headers.get("Content-Length", self.file.size)) != self.file.size:
                raise _changed(self.file)
            part.restart(_strong(headers.get("ETag", "")))
        elif status == 206:
            match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
            if not match or int(match[1]) != part.size or match[3] not in ("*", str(self.file.size)):
                part.restart("")
                raise _changed(self.file)
            part.resumed = True
        elif status == 416:
            part.restart("")
            raise _changed(self.file)
        else:
            raise self.line.refusal(response)


def _range(part: PartFile) -> dict[str, str]:
    """Go on where it stopped, if the file is still the same one; without a validator the digest will tell."""
    if not part.size:
        return {}
    return {"Range": f"bytes={part.size}-"} | ({"If-Range": part.etag} if part.etag else {})


def _strong(etag: str) -> str:
    """Weak validators cannot be used with ranges (RFC 9110, 13.1.5)."""
    return etag if etag.isascii() and etag.isprintable() and not etag.startswith("W/") else ""


def _changed(file: RemoteFile) -> Changed:
    return Changed(f"{file.name} changed on the hub while it was fetched; pull again")


def _truncated(part: PartFile) -> Truncated:
    return Truncated(
        f"the connection ended at byte {part.size} of {part.file.size} of {part.file.name}; pull again to go on "
        "from there"
    )
