"""The sockets the server listens on: bound before anything else starts, so that a taken port is one clear
line.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import psutil

from npuproxy.env import Network

logger = logging.getLogger(__name__)

BACKLOG = 1024
_WSL_SWITCH = "vEthernet (WSL"
"""Windows names the switch 'vEthernet (WSL)' or 'vEthernet (WSL (Hyper-V firewall))'."""


class ListenError(Exception):
    """An address cannot be had; the message is one line with the way out."""


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on one port, non-blocking. Raises ListenError.

    `host` 'auto' is loopback and, on Windows, the WSL switch. Port 0 is any free one.
    """
    opened: list[socket.socket] = []
    try:
        for family, address in _auto() if host == "auto" else _resolved(host):
            opened.append(listen(address, opened[0].getsockname()[1] if opened else port, family))
    except ListenError:
        for listener in opened:
            listener.close()
        raise
    return opened


def grpc_addresses(host: str, port: int, chosen: bool) -> list[tuple[str, int]]:
    """Where the gRPC door will listen: gRPC binds its sockets itself, so these are only tried.

    `chosen`: somebody asked for this port, so that a taken one raises ListenError; a default one is done without.
    """
    try:
        opened = open_sockets(host, port)
    except ListenError as error:
        words = f"gRPC: {error}".replace("NPU_PROXY_PORT or --port", "NPU_PROXY_GRPC_PORT")
        if chosen:
            raise ListenError(words) from None
        logger.warning("%s; going on without gRPC", words)
        return []
    found = [(str(address), port) for address, port, *_ in (one.getsockname() for one in opened)]
    for listener in opened:
        listener.close()
    return found


def _auto() -> list[tuple[socket.AddressFamily, str]]:
    addresses = [(socket.AF_INET, "127.0.0.1")]
    if _has_ipv6_loopback():
        addresses.append((socket.AF_INET6, "::1"))
    if switch := wsl_switch():
        addresses.append((socket.AF_INET, str(switch.ip)))
    return addresses


def _resolved(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ListenError(f"NPU_PROXY_HOST: {host!r} is no address of this machine") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def listen(address: str, port: int, family: socket.AddressFamily) -> socket.socket:
    """One listening socket. Raises ListenError."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(_why(address, port, error)) from None
    listener.setblocking(False)
    return listener


def _why(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE or (sys.platform == "win32" and error.errno == errno.EACCES):
        return (
            f"port {port} on {address} is taken by another program (another server of ours, perhaps); "
            "stop that one, or choose another port with NPU_PROXY_PORT or --port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"NPU_PROXY_HOST: {address!r} is no address of this machine"
    return f"cannot listen on {address} port {port}: {error.strerror}"


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def wsl_switch() -> ipaddress.IPv4Interface | None:
    """This machine's address on the switch to WSL2; None off Windows and where networking is mirrored."""
    return wsl_switch_among(psutil.net_if_addrs()) if sys.platform == "win32" else None


def wsl_switch_among(interfaces: Mapping[str, Iterable[Any]]) -> ipaddress.IPv4Interface | None:
    """The switch by its name; `interfaces` as psutil.net_if_addrs gives them."""
    for name, entries in interfaces.items():
        for entry in entries if name.startswith(_WSL_SWITCH) else ():
            if entry.family == socket.AF_INET and entry.netmask:
                return ipaddress.IPv4Interface(f"{entry.address}/{entry.netmask}")
    return None


def trusted_networks(configured: tuple[Network, ...]) -> tuple[Network, ...]:
    """What NPU_PROXY_TRUSTED_NETWORKS says, or else the WSL switch's network."""
    if configured:
        return configured
    switch = wsl_switch()
    return (switch.network,) if switch else ()


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached by this machine (and its WSL guest) alone."""
    if host in ("auto", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
