"""Who asks: a program of this machine or of a trusted network, or somebody who needs a key. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from npuproxy.env import Network

Header = tuple[bytes, bytes]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORWARDING = frozenset(
    (
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"x-cluster-client-ip",
    )
)
_TELLING = (b"forwarded", b"x-forwarded-for", b"x-real-ip")
"""A proxy sets one of them and lets the others through as its client wrote them: so none may
say what another denies."""

_FORWARDED_FOR = re.compile(r'for\s*=\s*(?:"\[?([^"\]]+)\]?(?::\d+)?"|([^;,\s]+))', re.IGNORECASE)


def forwards(name: bytes) -> bool:
    """Whether a header of that (lower-case) name says that a proxy or a tunnel stands between."""
    return name in _FORWARDING or name.startswith((b"x-forwarded", b"x-original-forwarded"))


def address_of(text: str) -> Address | None:
    """An IPv4 address that came in over an IPv6 socket is the IPv4 address."""
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


_of_peer = lru_cache(maxsize=256)(address_of)
"""Of connections: a few addresses that ask again and again."""


class Peers:
    """Decides who needs no key. `networks` are trusted beside loopback; `proxies` are believed about their
    clients.
    """

    def __init__(self, networks: Iterable[Network], proxies: Iterable[Network]) -> None:
        self.networks = tuple(networks)
        self._proxies = tuple(proxies)

    def is_trusted(self, client: str, headers: Iterable[Header]) -> bool:
        """True for this machine and the trusted networks. A forwarded request is where it came from."""
        address = _of_peer(client)
        if address is None:
            return False
        forwarding = [(name, value) for name, value in headers if forwards(name)]
        if not forwarding:
            return self._is_local(address)
        if not _is_in(address, self._proxies):
            return False
        told = [self._origin(forwarding, name) for name in _TELLING if _has(forwarding, name)]
        return bool(told) and all(origin is not None and self._is_local(origin) for origin in told)

    def _is_local(self, address: Address) -> bool:
        return address.is_loopback or _is_in(address, self.networks)

    def _origin(self, headers: list[Header], name: bytes) -> Address | None:
        """The last hop that is no trusted proxy: what stands further left was written by whoever asks."""
        hops = _hops(headers, name)
        for hop in reversed(hops):
            if hop is None or not _is_in(hop, self._proxies):
                return hop
        return hops[0] if hops else None


def _has(headers: list[Header], name: bytes) -> bool:
    return any(key == name for key, _ in headers)


def _hops(headers: list[Header], name: bytes) -> list[Address | None]:
    text = ",".join(value.decode("latin-1") for key, value in headers if key == name)
    if name == b"forwarded":
        return [address_of(quoted or bare) for quoted, bare in _FORWARDED_FOR.findall(text)]
    return [address_of(_without_port(part)) for part in text.split(",")] if text else []


def _without_port(text: str) -> str:
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
