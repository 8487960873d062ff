"""Which names a Host header may carry and which web origins may ask. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache

import psutil

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+(?:%[\w.-]+)?\]|[^\[\]:/@\s]+)(?::\d{1,5})?", re.IGNORECASE)

DEFAULT_ORIGINS = (
    *(f"{scheme}://{host}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "0.0.0.0")),
    *(
        f"{scheme}://{host}:*"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0")
    ),
    *("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"),
    *("chrome-extension://*", "moz-extension://*", "safari-extension://*", "safari-web-extension://*"),
    "ms-browser-extension://*",
)
"""Ollama's list; gin-contrib/cors adds the browser extensions."""


def host_name(header: str) -> str:
    """The name or address in a Host header, without port and brackets, in lower case; '' when it is
    malformed.
    """
    match = _HOST.fullmatch(header.strip())
    return match["name"].strip("[]").rstrip(".").lower() if match else ""


def own_addresses() -> frozenset[str]:
    """Every address of this machine's interfaces."""
    families = (socket.AF_INET, socket.AF_INET6)
    entries = [entry for entries in psutil.net_if_addrs().values() for entry in entries]
    return frozenset(entry.address.partition("%")[0] for entry in entries if entry.family in families)


class Hosts:
    """The guard against DNS rebinding: a web page can point its own name at 127.0.0.1, but cannot change the
    name.
    """

    def __init__(self, extra: Iterable[str], addresses: Callable[[], frozenset[str]] = own_addresses) -> None:
        own = socket.gethostname().lower()
        self._names = {"localhost", own, own.partition(".")[0], *(host_name(name) or name for name in extra)}
        self._all = "*" in self._names
        self._addresses = addresses
        self.allows = lru_cache(maxsize=64)(self._allows)

    def _allows(self, header: str) -> bool:
        if self._all:
            return True
        name = host_name(header)
        if not name:
            return False
        try:
            address = ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return name in self._names or name.endswith(_LOCAL_SUFFIXES)
        local = address.is_loopback or address.is_private or address.is_link_local or address.is_unspecified
        return local or str(address) in self._names or str(address) in self._addresses()


class Origins:
    """Which web origins may ask. `everyone` is OLLAMA_ORIGINS=*."""

    def __init__(self, extra: Iterable[str]) -> None:
        extra = tuple(extra)
        self.everyone = "*" in extra
        patterns = (*DEFAULT_ORIGINS, *(entry for entry in extra if entry != "*"))
        self._pattern = re.compile("|".join(_pattern(entry) for entry in patterns), re.IGNORECASE)

    def allows(self, origin: str) -> bool:
        return self.everyone or bool(self._pattern.fullmatch(origin))

    @staticmethod
    def is_same(origin: str, host: str) -> bool:
        """A page that this server sent: its Host header is the origin, so CORS says nothing about it."""
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and bool(host) and rest.lower() == host.lower()


def _pattern(entry: str) -> str:
    """`*` stands for anything, but for a port only where a colon stands before it at the end."""
    if entry.endswith(":*"):
        return _pattern(entry[:-2]) + r":\d{1,5}"
    return ".*".join(re.escape(part) for part in entry.split("*"))
