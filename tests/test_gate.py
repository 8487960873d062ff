"""Who may ask: Host, Origin, forwarding headers, keys; and what a path must look like."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

import pytest

from npuproxy.gate import Answer, Gate, Passed, Rules
from npuproxy.origins import Hosts, Origins, host_name
from npuproxy.peers import Peers

LOCAL = "http://127.0.0.1:11435"
OWN = frozenset({"203.0.113.9"})

Header = tuple[bytes, bytes]


def headers(**values: str) -> list[Header]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()]


async def nobody(*_: object) -> None:
    raise AssertionError("the gate passed a request on that it was only to judge")


def gate(
    *,
    names: Sequence[str] = (),
    origins: Sequence[str] = (),
    networks: Sequence[str] = (),
    proxies: Sequence[str] = (),
    guards_all: bool = True,
) -> Gate:
    peers = Peers(map(ipaddress.ip_network, networks), map(ipaddress.ip_network, proxies))
    rules = Rules(Hosts(names, lambda: OWN), Origins(origins), peers, guards_all, "1.2.3")
    return Gate(rules, nobody, nobody)


def status(verdict: Answer | Passed) -> int:
    """200 stands for a request that goes on."""
    return verdict.status if isinstance(verdict, Answer) else 200


# --- Host -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "LOCALHOST:11435",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:11435",
        ),
        *(
            "[::1]",
            "0.0.0.0:11435",
            "192.168.1.7:11435",
            "10.0.0.3",
            "172.20.3.4",
            "169.254.1.1",
            "[fe80::1]",
        ),
        *("[fd00::7]:80", "203.0.113.9", "box.local:11435", "chat.localhost", "host.docker.internal:11435"),
    ],
)
def test_a_host_of_this_machine_passes(host: str) -> None:
    assert status(gate().judge("GET", "/", headers(host=host), ["127.0.0.1", 5])) == 200


def test_the_name_of_this_machine_passes() -> None:
    assert status(gate().judge("GET", "/", headers(host=socket.gethostname()), ["127.0.0.1", 5])) == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.test",
            "evil.test:11435",
            "127.0.0.1.nip.io",
            "localhost.evil.test",
            "local",
            "8.8.8.8",
            "[2001:4860::1]",
        ),
        *(
            "",
            "127.0.0.1:x",
            "127.0.0.1:1:1",
            "[::1",
            "user@localhost",
            "localhost/x",
            "evil.test localhost",
            "[]",
        ),
    ],
)
def test_a_foreign_host_is_refused_without_a_body(host: str) -> None:
    verdict = gate().judge("GET", "/api/tags", headers(host=host), ["127.0.0.1", 5])
    assert isinstance(verdict, Answer)
    assert (verdict.status, verdict.body) == (403, b"")


def test_a_missing_host_is_refused_and_so_are_two() -> None:
    two = [*headers(host="localhost"), *headers(host="localhost")]
    assert status(gate().judge("GET", "/", [], ["127.0.0.1", 5])) == 403
    assert status(gate().judge("GET", "/", two, ["127.0.0.1", 5])) == 403


def test_x_forwarded_host_names_nothing() -> None:
    given = headers(host="evil.test", x_forwarded_host="localhost")
    assert status(gate().judge("GET", "/", given, ["127.0.0.1", 5])) == 403


def test_allowed_hosts_are_added_and_a_star_allows_all() -> None:
    given = headers(host="Chat.Example.com:8080")
    assert status(gate(names=["chat.example.com"]).judge("GET", "/", given, ["127.0.0.1", 5])) == 200
    assert status(gate(names=["*"]).judge("GET", "/", given, ["127.0.0.1", 5])) == 200


def test_on_an_open_address_the_guard_stays_for_whoever_needs_no_key() -> None:
    """Else a web page that points its own name at 127.0.0.1 would be let in there."""
    open_address = gate(guards_all=False)
    given = headers(host="evil.test")
    assert status(open_address.judge("GET", "/api/tags", given, ["127.0.0.1", 5])) == 403
    assert status(open_address.judge("GET", "/api/tags", given, ["192.0.2.1", 5])) == 401
    assert status(open_address.judge("GET", "/api/version", given, ["192.0.2.1", 5])) == 200


@pytest.mark.parametrize(
    ("header", "name"), [("A.b:80", "a.b"), ("[FE80::1%eth0]:80", "fe80::1%eth0"), ("a:b:c", "")]
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


# --- Origin ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost", "https://localhost", "http://localhost:3000", "https://127.0.0.1:8443"),
        *(
            "http://0.0.0.0:80",
            "app://obsidian.md",
            "file://",
            "tauri://localhost",
            "vscode-webview://abc123",
        ),
        *("vscode-file://vscode-app", "chrome-extension://abcdefghij", "moz-extension://1-2-3"),
    ],
)
def test_an_origin_of_this_machine_is_answered_with_its_name(origin: str) -> None:
    verdict = gate().judge(
        "POST", "/api/chat", headers(host="127.0.0.1:11435", origin=origin), ["127.0.0.1", 5]
    )
    assert isinstance(verdict, Passed)
    assert dict(verdict.headers)[b"access-control-allow-origin"] == origin.encode()


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.test", "null", "http://localhost.evil.test", "http://localhost:3000.evil.test"),
        *(
            "http://localhost@evil.test",
            "https://127.0.0.1.nip.io",
            "http://localhost:",
            "ftp://localhost",
            "localhost",
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_foreign_origin_is_refused_on_every_method(origin: str, method: str) -> None:
    verdict = gate().judge(method, "/api/chat", headers(host="localhost", origin=origin), ["127.0.0.1", 5])
    assert isinstance(verdict, Answer)
    assert (verdict.status, verdict.body) == (403, b"")
    assert b"access-control-allow-origin" not in dict(verdict.headers)


def test_a_page_of_this_server_is_no_cross_origin_request() -> None:
    given = headers(host="box.local:11435", origin="http://box.local:11435")
    verdict = gate().judge("GET", "/status", given, ["127.0.0.1", 5])
    assert isinstance(verdict, Passed)
    assert verdict.headers == []


def test_origins_can_be_added_with_a_star_in_them() -> None:
    added = gate(origins=["http://192.168.*", "https://*.example.com"])
    for origin, wanted in [
        ("http://192.168.1.5:3000", 200),
        ("https://chat.example.com", 200),
        ("https://example.com.evil.test", 403),
    ]:
        given = headers(host="localhost", origin=origin)
        assert status(added.judge("GET", "/api/tags", given, ["127.0.0.1", 5])) == wanted, origin


def test_a_star_alone_allows_every_origin() -> None:
    verdict = gate(origins=["*"]).judge(
        "GET", "/api/tags", headers(host="localhost", origin="https://any.test"), ["127.0.0.1", 5]
    )
    assert isinstance(verdict, Passed)
    assert dict(verdict.headers)[b"access-control-allow-origin"] == b"*"


def test_a_preflight_names_what_is_allowed() -> None:
    given = headers(
        host="localhost:11435",
        origin="http://localhost:3000",
        access_control_request_method="POST",
        access_control_request_private_network="true",
    )
    verdict = gate().judge("OPTIONS", "/v1/chat/completions", given, ["127.0.0.1", 5])
    assert isinstance(verdict, Answer)
    allowed = {name.decode(): value.decode() for name, value in verdict.headers}
    assert (verdict.status, verdict.body) == (204, b"")
    assert allowed["access-control-allow-origin"] == "http://localhost:3000"
    assert allowed["access-control-allow-methods"] == "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
    assert allowed["access-control-max-age"] == "43200"
    assert allowed["access-control-allow-private-network"] == "true"
    names = allowed["access-control-allow-headers"].split(",")
    assert {
        "Authorization",
        "Content-Type",
        "x-stainless-retry-count",
        "x-stainless-helper",
        "x-api-key",
    } <= set(names)


# --- Peers and keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "given", "trusted"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("192.0.2.1", {}, False),
        ("172.17.0.5", {}, True),
        ("::ffff:172.17.0.5", {}, True),
        ("", {}, False),
        ("127.0.0.1", {"x_forwarded_for": "127.0.0.1"}, False),
        ("127.0.0.1", {"x_real_ip": "127.0.0.1"}, False),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}, False),
        ("127.0.0.1", {"via": "1.1 proxy"}, False),
        ("127.0.0.1", {"x_forwarded_proto": "https"}, False),
        ("127.0.0.1", {"x_forwarded": "for=127.0.0.1"}, False),
        ("172.17.0.5", {"x_forwarded_for": "127.0.0.1"}, False),
        ("10.0.0.1", {}, False),
        ("10.0.0.1", {"x_forwarded_for": "172.17.0.9"}, True),
        ("10.0.0.1", {"x_forwarded_for": "172.17.0.9, 192.0.2.7"}, False),
        ("10.0.0.1", {"x_forwarded_for": "192.0.2.7, 172.17.0.9, 10.0.0.2"}, True),
        ("10.0.0.1", {"x_forwarded_for": "[::1]:4711"}, True),
        ("10.0.0.1", {"x_forwarded_for": "172.17.0.9:4711"}, True),
        ("10.0.0.1", {"x_forwarded_for": "unknown"}, False),
        ("10.0.0.1", {"forwarded": 'for="[::1]:80";proto=http'}, True),
        ("10.0.0.1", {"forwarded": "for=172.17.0.9, for=192.0.2.1"}, False),
        ("10.0.0.1", {"x_forwarded_proto": "https"}, False),
        ("10.0.0.1", {"forwarded": "for=127.0.0.1", "x_forwarded_for": "192.0.2.7"}, False),
        ("10.0.0.1", {"forwarded": "for=192.0.2.7", "x_forwarded_for": "127.0.0.1"}, False),
        ("10.0.0.1", {"x_real_ip": "127.0.0.1", "x_forwarded_for": "192.0.2.7"}, False),
        ("10.0.0.1", {"x_real_ip": "172.17.0.9", "x_forwarded_for": "172.17.0.9"}, True),
        ("10.0.0.1", {"forwarded": "proto=https", "x_forwarded_for": "172.17.0.9"}, False),
    ],
)
def test_who_needs_no_key(client: str, given: dict[str, str], trusted: bool) -> None:
    peers = Peers([ipaddress.ip_network("172.17.0.0/16")], [ipaddress.ip_network("10.0.0.0/24")])
    assert peers.is_trusted(client, headers(**given)) is trusted


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/api/version", 200),
        ("GET", "/healthz", 200),
        ("GET", "/api/tags", 401),
        ("POST", "/api/chat", 401),
        ("POST", "/v1/chat/completions", 401),
        ("GET", "/v1/models/demo", 401),
        ("GET", "/status", 200),
        ("GET", "/status/ws", 401),
        ("GET", "/login", 200),
        ("GET", "/admin/", 401),
        ("GET", "/static/npuproxy.css", 200),
        ("GET", "/nothing", 404),
    ],
)
def test_without_a_key_others_get_the_open_operations_alone(method: str, path: str, wanted: int) -> None:
    assert status(gate(guards_all=False).judge(method, path, headers(host="box"), ["192.0.2.1", 5])) == wanted


# --- Paths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *(
            "//api/chat",
            "/static/../manage.py",
            "/api/./chat",
            "/status/..",
            "/api//chat",
            "/api/chat;x=1",
            "/v1/chat/completions/",
            "/V1/chat/completions",
            "/API/chat",
        ),
        *(
            "/api/chat/",
            "api/chat",
            "*",
            "http://evil.test/api/chat",
            "/\\evil",
            "/api/\x00chat",
            "/adminx",
            "/statusx",
        ),
        *("/invocations", "/api"),
    ],
)
def test_a_path_that_is_spelled_otherwise_is_unknown(path: str) -> None:
    assert status(gate().judge("POST", path, headers(host="localhost"), ["127.0.0.1", 5])) == 404


def test_an_unknown_method_of_a_known_path_is_405_with_the_allowed_ones() -> None:
    verdict = gate().judge("PROPFIND", "/api/chat", headers(host="localhost"), ["127.0.0.1", 5])
    assert isinstance(verdict, Answer)
    assert (verdict.status, verdict.body) == (405, b"405 method not allowed")
    assert dict(verdict.headers)[b"allow"] == b"POST"
