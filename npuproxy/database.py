"""DATABASE_URL -> Django's settings of the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_FORMS = "sqlite:///<absolute path> or postgres://user:password@host:5432/name"


def check(url: str) -> str:
    """The same address, or ValueError that says which forms are known."""
    of(url)
    return url


def of(url: str) -> dict[str, Any]:
    """An entry of DATABASES. Raises ValueError."""
    if url.startswith("sqlite:///"):
        return sqlite(Path(url.removeprefix("sqlite:///")).expanduser().absolute())
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    if parts.scheme not in ("postgres", "postgresql") or not name:
        raise ValueError(_FORMS)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "CONN_HEALTH_CHECKS": True,  # a server that was restarted costs a new connection, not an error
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


def sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        # IMMEDIATE: a deferred transaction that reads, then writes, fails at once when another one wrote.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
