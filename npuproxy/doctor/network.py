"""Port, names, keys and certificates; and between Windows and its WSL guests, the line that a client needs."""

from __future__ import annotations

import configparser
import ipaddress
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from django.conf import settings
from django.db import DatabaseError

from npuproxy import listening, running_server
from npuproxy.doctor import kernel
from npuproxy.doctor.finding import Finding, fault, ok, warning
from registry.models import ApiKey

SOON_DAYS: Final = 14
ASK_S: Final = 5
OLLAMA_PORT: Final = 11434


def port() -> Iterator[Finding]:
    """Whether a server can have it, or has it."""
    if running_server.find(Path(settings.DATA_DIR)) is not None:
        yield ok("the running server has its port")
        return
    try:
        sockets = listening.open_sockets(settings.HOST, settings.PORT)
    except listening.ListenError as error:
        yield fault(str(error), "NPU_PROXY_PORT=11436 manage.py serve")
        return
    for listener in sockets:
        listener.close()
    yield ok(f"port {settings.PORT} is free")


def ollama() -> Iterator[Finding]:
    """Clients that were told nothing ask Ollama's port."""
    with socket.socket() as tried:
        tried.settimeout(1)
        there = tried.connect_ex(("127.0.0.1", OLLAMA_PORT)) == 0
    if there:
        yield ok(
            f"a program has port {OLLAMA_PORT}: clients reach this server with OLLAMA_HOST=127.0.0.1:{settings.PORT}"
        )
    else:
        yield ok(
            f"nobody has Ollama's port; NPU_PROXY_PORT={OLLAMA_PORT} would serve clients that know no other"
        )


def keys() -> Iterator[Finding]:
    try:
        live = ApiKey.objects.filter(revoked_at=None).count()
    except DatabaseError:
        live = 0  # the tables are not there yet, and said so above
    if listening.is_loopback(settings.HOST):
        yield ok(f"only this machine is served, without a key ({live} keys)")
    elif live:
        yield ok(f"other machines need one of {live} keys")
    else:
        yield warning(
            f"NPU_PROXY_HOST is {settings.HOST} and there is no key: other machines are refused",
            "manage.py apikey create NAME",
        )


def tls() -> Iterator[Finding]:
    certificate: Path | None = settings.TLS.cert
    if certificate is None:
        if not listening.is_loopback(settings.HOST):
            yield warning(
                "keys and texts go over the network unencrypted",
                "NPU_PROXY_TLS_CERT and NPU_PROXY_TLS_KEY, or a proxy with TLS before it",
            )
        return
    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    days = (ends - datetime.now(UTC)).days
    if days < 0:
        yield fault(f"the certificate ended on {ends:%Y-%m-%d}", "put a new one in its place and start again")
    elif days < SOON_DAYS:
        yield warning(f"the certificate ends in {days} days", "put a new one in its place and start again")
    else:
        yield ok(f"the certificate holds until {ends:%Y-%m-%d}")


# --- Windows and WSL2 -------------------------------------------------------------------------------------------


def wsl(root: Path = Path("/")) -> Iterator[Finding]:
    """Which side this is, how the two are connected, and what the client's side has to set."""
    if sys.platform == "win32":
        yield from _windows_side(windows_networking(Path.home() / ".wslconfig"))
    elif kernel.is_wsl(root):
        yield from _linux_side(_wslinfo(), root)


def _windows_side(mode: str) -> Iterator[Finding]:
    if mode == "mirrored":
        yield ok(f"WSL2 shares this machine's network; in WSL: {client_line('127.0.0.1', settings.PORT)}")
        return
    switch = listening.wsl_switch()
    if switch is None:
        yield ok("no WSL2 guest has run since the start of Windows")
    elif settings.HOST in ("auto", "0.0.0.0", "::", str(switch.ip)):
        yield ok(
            f"WSL2 reaches this machine at {switch.ip}; in WSL: {client_line(str(switch.ip), settings.PORT)}"
        )
    else:
        yield warning(
            f"NPU_PROXY_HOST is {settings.HOST}: WSL2 cannot reach it",
            "unset NPU_PROXY_HOST   # auto listens there",
        )


def _linux_side(mode: str, root: Path) -> Iterator[Finding]:
    host = "127.0.0.1" if mode == "mirrored" else gateway(root)
    if not host:
        yield warning("WSL2 without a route to Windows", "wsl --shutdown   # on Windows, then start again")
        return
    yield ok(
        f"WSL2, networking {mode or 'unknown'}; a server on Windows is reached so: {client_line(host, settings.PORT)}"
    )


def client_line(host: str, number: int) -> str:
    """For the shell of whoever starts clients."""
    url = f"http://{host}:{number}"
    return f"export OLLAMA_HOST={url} OPENAI_BASE_URL={url}/v1 ANTHROPIC_BASE_URL={url}"


def windows_networking(config: Path) -> str:
    """`networkingMode` of .wslconfig; 'nat' is what WSL2 has where nobody chose."""
    parser = configparser.ConfigParser(strict=False)
    try:
        parser.read_string(config.read_text("utf-8-sig"))
    except (OSError, configparser.Error, UnicodeDecodeError):
        return "nat"
    sections: Mapping[str, Mapping[str, str]] = {name.lower(): parser[name] for name in parser.sections()}
    return sections.get("wsl2", {}).get("networkingmode", "nat").strip().lower()


def _wslinfo() -> str:
    try:
        done = subprocess.run(
            ["wslinfo", "--networking-mode"], capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().lower()


def gateway(root: Path) -> str:
    """The address that Linux's default route goes by: under NAT, Windows. '' without one."""
    try:
        lines = (root / "proc/net/route").read_text("ascii").splitlines()[1:]
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and re.fullmatch(r"[0-9A-Fa-f]{8}", fields[2]):
            return str(ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(fields[2]), "little")))
    return ""
