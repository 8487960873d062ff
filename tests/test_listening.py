"""The sockets: which addresses, and what is said when one cannot be had."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from inference.config import EngineConfig
from inference.engine import Engine
from npuproxy import lifecycle, listening
from npuproxy.listening import ListenError
from registry.records import Records


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def test_auto_is_loopback_on_one_port(opened: list[socket.socket]) -> None:
    opened += listening.open_sockets("auto", 0)
    addresses = [each.getsockname()[0] for each in opened]
    assert addresses[0] == "127.0.0.1"
    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert len({each.getsockname()[1] for each in opened}) == 1
    assert all(not each.getblocking() for each in opened)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::"])
def test_an_address_binds_there(host: str, opened: list[socket.socket]) -> None:
    try:
        opened += listening.open_sockets(host, 0)
    except ListenError:
        if ":" not in host:
            raise
        pytest.skip("this machine has no IPv6")
    assert len({each.getsockname()[1] for each in opened}) == 1


def test_the_unspecified_ipv6_address_takes_ipv4_as_well(opened: list[socket.socket]) -> None:
    try:
        opened += listening.open_sockets("::", 0)
    except ListenError:
        pytest.skip("this machine has no IPv6")
    with closing(
        socket.create_connection(("127.0.0.1", opened[0].getsockname()[1]), timeout=5)
    ) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"


def test_a_taken_port_and_a_foreign_address_say_what_to_do() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as other,
        pytest.raises(ListenError, match="is taken by another program"),
    ):
        listening.open_sockets("auto", other.getsockname()[1])
    with pytest.raises(ListenError, match="is no address of this machine"):
        listening.open_sockets("192.0.2.1", 0)
    with pytest.raises(ListenError, match="is no address of this machine"):
        listening.open_sockets("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("auto", True),
        ("localhost", True),
        ("127.0.0.5", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("box", False),
    ],
)
def test_which_hosts_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert listening.is_loopback(host) is loopback


class Entry:
    """One address of an interface, as psutil tells of it on Windows."""

    def __init__(
        self, address: str, netmask: str | None, family: socket.AddressFamily = socket.AF_INET
    ) -> None:
        self.address, self.netmask, self.family = address, netmask, family


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vEthernet (WSL)", "172.28.16.1/20"),
        ("vEthernet (WSL (Hyper-V firewall))", "172.28.16.1/20"),
        ("vEthernet (Default Switch)", None),
        ("Ethernet", None),
    ],
)
def test_the_wsl_switch_is_found_by_its_name(name: str, found: str | None) -> None:
    link = Entry("00-15-5D-00-00-01", None, socket.AF_UNSPEC)
    interfaces = {
        "Loopback": [Entry("127.0.0.1", "255.0.0.0")],
        name: [link, Entry("172.28.16.1", "255.255.240.0")],
    }
    wanted = ipaddress.IPv4Interface(found) if found else None
    assert listening.wsl_switch_among(interfaces) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="needs the many loopback addresses of Linux")
@pytest.mark.parametrize(
    ("seen", "listened_on"),
    [
        ([None, None], []),
        ([None, "127.0.0.2"], ["127.0.0.2"]),
        (["127.0.0.2", "127.0.0.2"], []),
        (["127.0.0.2", None, "127.0.0.3"], ["127.0.0.3"]),
        ([None, "192.0.2.1", "127.0.0.2"], ["127.0.0.2"]),
    ],
)
def test_a_switch_that_comes_later_is_listened_on_too(
    seen: list[str | None], listened_on: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """192.0.2.1 is an address that cannot be had: it is logged and the watch goes on."""
    switches = [ipaddress.IPv4Interface(f"{address}/20") if address else None for address in seen]
    monkeypatch.setattr(
        listening, "wsl_switch", lambda: switches.pop(0) if len(switches) > 1 else switches[0]
    )
    monkeypatch.setattr(lifecycle, "SWITCH_POLL_S", 0.001)
    adopted = []

    def adopt(listener: socket.socket) -> None:
        adopted.append(listener.getsockname()[0])
        listener.close()

    async def watch_a_while() -> None:
        life = lifecycle.Lifecycle(Engine(EngineConfig()), Records(), (), (), 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(life._follow_switch(adopt), 0.1)

    asyncio.run(watch_a_while())
    assert adopted == listened_on


def test_off_windows_there_is_no_switch_and_what_is_configured_is_trusted() -> None:
    bridge = ipaddress.ip_network("172.17.0.0/16")
    assert listening.trusted_networks((bridge,)) == (bridge,)
    if listening.wsl_switch() is None:
        assert listening.trusted_networks(()) == ()
