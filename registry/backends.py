"""Rows of other servers: found by name, and followed by the server's engine."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from inference import remotes
from inference.engine import Engine
from inference.errors import BadRequest
from inference.remote import RemoteSpec
from registry.database_thread import DatabaseThread
from registry.models import Backend
from registry.sealing import SealBroken
from registry.watching import Stamps

logger = logging.getLogger(__name__)

_TABLE = Backend._meta.db_table
SET = "set"
"""What is shown of a key that is there."""
_PORTS = {"http": 80, "https": 443}


def find(name: str) -> Backend:
    """Raises BadRequest."""
    row = Backend.objects.filter(name=name.strip().lower()).first()
    if row is None:
        known = ", ".join(Backend.objects.values_list("name", flat=True)) or "none yet"
        raise BadRequest(f"there is no backend '{name}'; there are: {known}", "name")
    return row


def is_here(url: str, port: int) -> bool:
    """The address is that of the server on this port: requests would come back for ever."""
    parts = urlsplit(url)
    if (parts.port or _PORTS.get(parts.scheme)) != port:
        return False
    return _is_near(parts.hostname or "") or parts.hostname in ("0.0.0.0", "::")


def specs(port: int) -> tuple[RemoteSpec, ...]:
    """Of every row that is enabled, by name; one that cannot be used is left out, with a line in the log.

    `port`: the server's own.
    """
    found = []
    for row in Backend.objects.filter(enabled=True):
        try:
            if is_here(row.url, port):
                logger.warning("backend %s is left out: %s is this server itself", row.name, row.url)
            else:
                found.append(row.spec())
        except (SealBroken, ValueError) as error:  # ValueError: written by something else than this program
            logger.error("backend %s is left out: %s", row.name, error)
    return tuple(found)


def secret_of(variable: str) -> str:
    """The key in a variable of the environment. Raises BadRequest that names the variable alone."""
    try:
        return str(settings.NAMED_SECRET(variable))
    except KeyError:
        raise BadRequest(f"the variable {variable} is not set here; set it to the key", "key") from None


def facts(row: Backend) -> dict[str, Any]:
    """Everything of a row but its key, in the words that `manage.py backend import` reads."""
    return {
        "name": row.name,
        "protocol": row.protocol,
        "url": row.url,
        "key": SET if row.sealed_key else None,
        "class": row.kind,
        "watts": row.watts,
        "latency_ms": row.latency_ms,
        "tokens_per_s": row.tokens_per_s,
        "priority": row.priority,
        "models": row.supported.splitlines(),
        "preferred": row.preferred.splitlines(),
        "excluded": row.excluded.splitlines(),
        "aliases": dict(line.split("=", 1) for line in row.aliases.splitlines() if "=" in line),
        "max_size": row.max_size,
        "verify_tls": row.verify_tls,
        "ca_file": row.ca_file,
        "slots": row.slots,
        "first_byte_s": row.first_byte_s,
        "silence_s": row.silence_s,
        "enabled": row.enabled,
        "note": row.note,
    }


def doubts(row: Backend) -> list[str]:
    """What may stand in a row and is worth a word, each with its way out."""
    parts = urlsplit(row.url)
    said = []
    try:
        row.spec()
    except (SealBroken, ValueError) as error:
        said.append(f"it is left out: {error}")
    if is_here(row.url, settings.PORT):
        said.append(f"{row.url} is this server itself, so it is left out; give the other server's port")
    if parts.scheme == "http" and row.sealed_key and not _is_near(parts.hostname or ""):
        said.append(f"its key and all prompts go to {parts.hostname} in the clear; use https where it can")
    if parts.scheme == "https" and not row.verify_tls:
        said.append("its certificate is not checked: anyone on the way can read its key and all prompts")
    return said


def _is_near(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


_followed: dict[str, RemoteSpec] = {}


def followed() -> dict[str, RemoteSpec]:
    """By name, as the engine of this process has them. From any thread."""
    return _followed


class Follower:
    """Gives the engine what the rows say."""

    def __init__(self, engine: Engine, port: int) -> None:
        self._engine = engine
        self._port = port
        self._stamp = -1
        self._thread = DatabaseThread("backends")

    async def follow(self, stamps: Stamps) -> None:
        stamp = stamps.get(_TABLE, 0)
        if stamp != self._stamp:
            found = await self._thread.read(partial(specs, self._port))
            self._thread.release()
            if found:
                await asyncio.to_thread(remotes.prepare)
            self._engine.follow_remotes(found)
            global _followed
            _followed = {spec.id: spec for spec in found}
            self._stamp = stamp
