"""HTTP towards a hub: whom the token is for, where a redirect may lead, how much an answer may weigh.

1. The token goes to the origin (scheme, host, port) of the hub's address and to no other, whatever the hub says.
2. A redirect never leads from https to http, nor from a public hub to an address of this machine or its networks.
3. Nothing is decompressed: what an answer weighs on the wire is what it weighs in memory.
4. Proxies and certificates are httpx's: HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE.
"""

from __future__ import annotations

import email.utils
import ipaddress
import math
import socket
import time
from typing import Any, Final

import httpx

from registry.hub_errors import (
    Gated,
    HubError,
    HubUnavailable,
    RateLimited,
    RefusedRedirect,
    RepositoryNotFound,
    Unauthorized,
)

CONNECT_S: Final = 15.0
ANSWER_S: Final = 30.0
"""Without a byte of an answer of the API."""
MAX_ANSWER_BYTES: Final = 32 * 1024**2
"""The tree of a repository comes in pages of a thousand files, some 200 bytes each."""
MAX_REDIRECTS: Final = 5
DEFAULT_RETRY_S: Final = 30.0


class ApiClient(httpx.Client):
    """What huggingface-hub sends its requests with: bounded in time and in size, redirects by the rules above."""

    def send(self, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        origin, token = request.url, request.headers.pop("Authorization", "")
        for _ in range(MAX_REDIRECTS + 1):
            request.headers["Accept-Encoding"] = "identity"
            if token and same_origin(request.url, origin):
                request.headers["Authorization"] = token
            kwargs |= {"stream": True, "follow_redirects": False}
            response = super().send(request, **kwargs)
            try:
                if response.next_request is None:
                    return whole(response)
                check_redirect(origin, response.next_request.url)
            finally:
                response.close()
            request = response.next_request
            request.headers.pop("Authorization", None)
        raise HubUnavailable(f"the hub at {shown(origin)} redirects in circles")


def api_client() -> httpx.Client:
    return ApiClient(timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S))


def whole(response: httpx.Response) -> httpx.Response:
    """The streamed answer, read; raises HubUnavailable when it is too large or compressed."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise HubUnavailable(
            f"the hub at {shown(response.url)} sent a compressed answer that nobody asked for"
        )
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise HubUnavailable(
                f"the hub at {shown(response.url)} sent an answer of more than {MAX_ANSWER_BYTES} bytes"
            )
    return httpx.Response(
        response.status_code, headers=response.headers, content=bytes(body), request=response.request
    )


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.host, _port(one)) == (other.scheme, other.host, _port(other))


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def shown(url: httpx.URL) -> str:
    """Scheme, host and port: links to files carry signatures in the rest."""
    return f"{url.scheme}://{url.netloc.decode('ascii').rpartition('@')[2]}"


def check_redirect(hub: httpx.URL, target: httpx.URL) -> None:
    """Raises RefusedRedirect for a target to which this hub may not send anybody."""
    if target.scheme not in ("http", "https") or not target.host:
        raise RefusedRedirect(f"the hub at {shown(hub)} redirects to something that is no web address")
    if hub.scheme == "https" and target.scheme == "http":
        raise RefusedRedirect(f"the hub at {shown(hub)} redirects to {shown(target)}, which is not encrypted")
    if not same_origin(hub, target) and _is_internal(target.host) and not _is_internal(hub.host):
        raise RefusedRedirect(
            f"the hub at {shown(hub)} redirects to {shown(target)}, an address inside of this network"
        )


def _is_internal(host: str) -> bool:
    """True when any address of the name is one of this machine or of a private network; unknown names are not:
    behind a proxy it is the proxy that resolves them."""
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return False
    return any(not _is_public(str(entry[4][0])) for entry in found)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_global


def retry_after_s(headers: httpx.Headers) -> float:
    """Seconds from Retry-After, be it a number or a date; the default where there is none that means
    anything."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return DEFAULT_RETRY_S
    return max(0.0, seconds) if math.isfinite(seconds) else DEFAULT_RETRY_S


def refusal(response: httpx.Response, repo: str, hub: httpx.URL, *, with_token: bool) -> HubError:
    """The error that a status of 400 and more stands for."""
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    if code == "GatedRepo" or status == 403:
        return _forbidden(repo, hub, gated=code == "GatedRepo", with_token=with_token)
    if status == 401 and with_token:
        return Unauthorized(
            f"the hub at {shown(hub)} does not accept the token (HF_TOKEN); make a new one there"
        )
    if status in (401, 404):
        private = "" if with_token else ", or it is private: set HF_TOKEN to a token that may read it"
        return RepositoryNotFound(f"{repo} does not exist on {shown(hub)}{private}")
    if status == 429:
        wait_s = retry_after_s(response.headers)
        return RateLimited(
            f"the hub at {shown(hub)} asks to wait {wait_s:.0f} s (too many requests); a token (HF_TOKEN) "
            "raises its limit",
            wait_s,
        )
    if status >= 500:
        return HubUnavailable(f"the hub at {shown(hub)} answers {status}; try again later")
    return HubUnavailable(f"the hub at {shown(hub)} refuses {repo} with {status}")


def _forbidden(repo: str, hub: httpx.URL, *, gated: bool, with_token: bool) -> Gated:
    if not gated:
        return Gated(f"the hub at {shown(hub)} forbids {repo}; use a token (HF_TOKEN) that may read it")
    way_out = "then pull again" if with_token else "then set HF_TOKEN to a token of yours"
    return Gated(f"{repo} is gated: accept its licence at {shown(hub)}/{repo}, {way_out}")


def unreachable(error: httpx.HTTPError, hub: httpx.URL) -> HubUnavailable:
    """No answer at all, or none to its end."""
    words = "does not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
    return HubUnavailable(
        f"the hub at {shown(hub)} {words} ({type(error).__name__}); check the network, HF_ENDPOINT and HTTPS_PROXY"
    )
