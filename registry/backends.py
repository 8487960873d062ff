"""Rows of other servers: found by name, and followed by the server's engine."""

from __future__ import annotations

import logging
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

from inference.engine import Engine
from inference.errors import BadRequest
from inference.remote import RemoteSpec
from registry.database_thread import DatabaseThread
from registry.models import Backend
from registry.sealing import SealBroken
from registry.watching import Stamps

logger = logging.getLogger(__name__)

_TABLE = Backend._meta.db_table
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
    host = parts.hostname or ""
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


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
            self._engine.follow_remotes(found)
            self._stamp = stamp
