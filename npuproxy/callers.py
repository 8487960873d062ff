"""Who asks, and what for: the one table of policies, and the judgement of keys by it. Pure.

1. This machine and the trusted networks need no key and may do all but what needs the scope `admin`.
2. Anyone else needs a key whose scope includes the operation's.
3. A known key counts wherever it comes from: its bounds hold on this machine too, and one that has ended is refused.
4. What is no key of ours (clients send `ollama` by habit) is as if nothing had been sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from compat_api.urls import Resolved
from npuproxy.peers import Header
from registry.key import RANKS, SPELLING, Key

Find = Callable[[bytes], Key | None]

PAGES = {
    "/status/ws": "infer",
    "/status": "infer",
    "/playground": "infer",
    "/login": "open",
    "/logout": "open",
    "/static": "open",
    "/admin": "admin",
}
"""What Django serves beside compat_api's operations, each with all below it -> scope; urls.py has the views."""

SIGNED_IN = frozenset(("/admin",))
"""Pages with a sign-in of their own: whoever needs no key comes as far as that, whatever the scope says."""

ASKS_ITSELF = frozenset(("/status", "/playground"))
"""Pages that send whoever has no key and needs one to /login."""

KEY_PROTOCOLS = (b"bearer.", b"openai-insecure-api-key.")
"""Before a key that is sent as a subprotocol: a page of a browser can give a WebSocket no other header."""

_TRUSTED = RANKS["manage"]
_NO_KEY = (
    "this server asks for an API key from other machines and from proxies: send it as `Authorization: Bearer` or "
    "`x-api-key`; `manage.py apikey create NAME` makes one"
)
_UNKNOWN = "this API key is not known here; `manage.py apikey create NAME` makes one"


class Keys(Protocol):
    """The keys in memory."""

    def find(self, secret: bytes) -> Key | None:
        """Whatever its state: an expired or revoked one too."""

    async def refresh(self) -> None:
        """Read what was written since. Raises DatabaseError."""


class Use(Protocol):
    """The limits of a minute."""

    def begin(self, key: Key) -> tuple[int, str]:
        """Count a request: (0, ''), or the seconds to wait and which limit it is."""


class NoKeys:
    """For a server without a registry, as measurements need one."""

    def find(self, secret: bytes) -> Key | None:
        return None

    async def refresh(self) -> None:
        pass

    def begin(self, key: Key) -> tuple[int, str]:
        return 0, ""


class Refused(NamedTuple):
    """Status, words and a code for programs."""

    status: int
    message: str
    code: str | None


def page_of(path: str) -> str | None:
    """The entry of PAGES that `path` belongs to."""
    return next((page for page in PAGES if path == page or path.startswith(page + "/")), None)


def judge(
    resolved: Resolved, path: str, trusted: bool, headers: Iterable[Header], find: Find
) -> Refused | Key | None:
    """The key whose bounds hold, None for a caller without one, or why nobody like that may ask for `path`.

    `trusted`: a peer that needs no key. A path that is in no table is refused to everyone.
    """
    operation = resolved.operation
    page = None if operation else page_of(path)
    needed = operation.scope if operation else PAGES.get(page or "", "")
    if needed == "open":
        return None
    if needed not in RANKS:
        return Refused(403, "nobody may ask for this path", None)
    sent = presented(headers)
    key = next((found for secret in sent if (found := find(secret)) is not None), None)
    if key is not None:
        return _with_key(key, needed)
    if page in ASKS_ITSELF or (trusted and (RANKS[needed] <= _TRUSTED or page in SIGNED_IN)):
        return None
    if trusted:
        return Refused(403, f"this needs an API key with the scope {needed}", None)
    return Refused(401, _UNKNOWN if sent else _NO_KEY, "invalid_api_key")


def _with_key(key: Key, needed: str) -> Refused | Key:
    if ended := key.ended():
        return Refused(401, f"this API key is {ended}", "invalid_api_key")
    if not key.includes(needed):
        return Refused(
            403, f"this API key has the scope {key.scope}; this needs {needed}", "insufficient_scope"
        )
    return key


def presented(headers: Iterable[Header]) -> list[bytes]:
    """What the request sends as keys: `Authorization: Bearer`, then `x-api-key`, then subprotocols."""
    bearer, plain, protocols = [], [], []
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            if scheme.lower() == b"bearer" and rest.strip():
                bearer.append(rest.strip())
        elif name == b"x-api-key" and value.strip():
            plain.append(value.strip())
        elif name == b"sec-websocket-protocol":
            offered = [protocol.strip() for protocol in value.split(b",")]
            protocols += [
                protocol.removeprefix(prefix)
                for protocol in offered
                for prefix in KEY_PROTOCOLS
                if protocol.startswith(prefix)
            ]
    return bearer + plain + protocols


def sends_new_key(headers: Iterable[Header], find: Find) -> bool:
    """Whether a key is spelled like ours and is not in memory: it may have been made a moment ago."""
    return any(SPELLING.fullmatch(secret) and find(secret) is None for secret in presented(headers))
