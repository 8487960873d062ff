"""One API key as the server holds it: what it is spelled like, what it opens, what bounds it sets. Pure, no ORM."""

from __future__ import annotations

import hashlib
import math
import re
import time
from fnmatch import fnmatchcase

from msgspec import Struct

PREFIX = "npk_"
SECRET_BYTES = 32
SPELLING = re.compile(rb"npk_[A-Za-z0-9_-]{43}")
"""A key of ours. What clients send by habit (`ollama`, `sk-…`) is none and is never looked up."""

RANKS = {"open": 0, "infer": 1, "manage": 2, "admin": 3}
"""Scopes: each includes those before it."""


def hashed(secret: bytes) -> str:
    """A fast hash is the right one: there is no dictionary of 256 random bits to try."""
    return hashlib.sha256(secret).hexdigest()


class Key(Struct, frozen=True, kw_only=True):
    """What one key allows. Empty tuples and zeros are no bounds."""

    id: int
    name: str
    scope: str = "infer"
    models: tuple[str, ...] = ()
    """Names in lower case, always with a tag; `*` stands for anything."""
    devices: tuple[str, ...] = ()
    remote: bool = True
    """Other servers may answer its requests."""
    priority: int = 3
    """The highest."""
    default_priority: int = 1
    """Of its requests that ask for none."""
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    ends_at: float = math.inf
    """Unix time of its expiry; 0 when it was revoked."""

    def ended(self) -> str:
        """Why it opens nothing any more, in one word; '' while it does."""
        if self.ends_at > time.time():
            return ""
        return "expired" if self.ends_at else "revoked"

    def includes(self, scope: str) -> bool:
        return RANKS[self.scope] >= RANKS[scope]

    def allows_model(self, *names: str) -> bool:
        """By any of its names: that which was asked for, or its own behind an alias."""
        return not self.models or any(
            fnmatchcase(name.lower(), pattern) for name in names for pattern in self.models
        )
