"""The key that a signed-in page asks the API with: made for one session, in memory alone, and gone soon.

It is sent as a header by our own scripts and never as a cookie, so no page of another origin can use it. Who has signed
in may load, pull and stop where their rights in admin say that they may change models; everyone else may look and ask.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any, Final

from npuproxy import callers
from registry.key import Key, hashed

LIFE_S: Final = 3600.0
"""The page asks for a new one long before."""
MOST: Final = 1000
_PREFIX: Final = "npp_"


class PageKeys:
    """From any thread. `find` and `refresh` are those of the keys that were made with `manage.py apikey`, and these."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._sessions: dict[str, str] = {}
        self._lock = threading.Lock()

    def issue(self, session: str, user: Any) -> tuple[str, Key]:
        """(secret, key) of a session; the one before ends."""
        secret = _PREFIX + secrets.token_urlsafe(32)
        scope = "manage" if user.has_perm("registry.change_model") else "infer"
        key = Key(id=-int(user.pk), name=user.get_username(), scope=scope, ends_at=time.time() + LIFE_S)
        with self._lock:
            self._end(session)
            for old in [one for one, held in self._keys.items() if held.ended()]:
                del self._keys[old]
            while len(self._sessions) >= MOST:
                self._end(next(iter(self._sessions)))
            self._keys[hashed(secret.encode())] = key
            self._sessions[session] = hashed(secret.encode())
        return secret, key

    def end(self, session: str) -> None:
        """The session has signed out."""
        with self._lock:
            self._end(session)

    def find(self, secret: bytes) -> Key | None:
        return self._keys.get(hashed(secret)) if secret.startswith(_PREFIX.encode()) else None

    def _end(self, session: str) -> None:
        self._keys.pop(self._sessions.pop(session, ""), None)


PAGE_KEYS = PageKeys()
"""The server's."""


class AllKeys:
    """Those of pages, and those of the registry."""

    def __init__(self, ring: callers.Keys) -> None:
        self._ring = ring
        self.refresh = ring.refresh

    def find(self, secret: bytes) -> Key | None:
        return PAGE_KEYS.find(secret) or self._ring.find(secret)
