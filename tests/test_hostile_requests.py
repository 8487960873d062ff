"""Paths and headers that want one reader of a request to see another request than the next: they change nothing."""

from __future__ import annotations

import socket

import pytest
from conftest import RunningServer

REMOTE = "X-Forwarded-For: 192.0.2.7\r\n"


def ask(server: RunningServer, method: str, target: str, headers: str = "") -> tuple[int, bytes]:
    """Status and body of one raw request; headers end in line ends."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), body


@pytest.mark.parametrize(
    "target",
    [
        *(
            "//v1/models",
            "///v1/models",
            "/v1//models",
            "/V1/models",
            "/v1/Models",
            "/API/tags",
            "/v1/models/",
        ),
        *("/v1/models;x", "/v1;x/models", "/;/v1/models", "/api/tags;jsessionid=1", "/api/tags%3bx"),
        *(
            "/api/version/../tags",
            "/healthz/../admin/",
            "/api/./tags",
            "/x/..%2fapi/tags",
            "/%2e%2e/api/tags",
        ),
        *(
            "/static/../manage.py",
            "/static/%2e%2e/manage.py",
            "/static/..%2fmanage.py",
            "/static/..%5cmanage.py",
        ),
        *(
            "/api%5ctags",
            "/\\api/tags",
            "/api/tags%00",
            "/api/tags%0d%0aX:%20y",
            "/api/tags%20",
            "/%20/api/tags",
        ),
        *(
            "/healthz/admin",
            "/adminx",
            "/admin%00",
            "/healthz%2f..%2fadmin%2f",
            "/api/tags%2f",
            "/%2fapi/tags",
        ),
        *("/api/tags%252f", "/%252e%252e/admin/", "/api/v%C3%A9rsion", "/api/tags#x"),
    ],
)
@pytest.mark.parametrize("headers", ["", REMOTE], ids=["here", "elsewhere"])
def test_another_spelling_is_another_path_and_that_is_not_there(
    server: RunningServer, target: str, headers: str
) -> None:
    for method in ("GET", "POST", "HEAD"):
        status, body = ask(server, method, target, headers)
        assert status == 404 or (status == 401 and target.startswith("/static")), body
        assert b"models" not in body


@pytest.mark.parametrize(
    "target", ["/api/tags", "/%61pi/tags", "/api%2ftags", "/v1%2Fmodels", "/admin%2f", "/status"]
)
def test_an_encoded_letter_is_that_letter_for_every_reader(server: RunningServer, target: str) -> None:
    assert ask(server, "GET", target)[0] in (200, 302)
    sign_in = target == "/status"  # a page leads to it; an API says 401
    assert ask(server, "GET", target, REMOTE)[0] == (302 if sign_in else 401)


@pytest.mark.parametrize(
    "headers",
    [
        *(
            "Daphne-Root-Path: /api/version",
            "Daphne-Root-Path: /api",
            "Daphne-Root-Path: /",
            "Script-Name: /api",
        ),
        *("X-Original-URL: /api/version", "X-Rewrite-URL: /healthz", "X-Forwarded-Prefix: /healthz"),
        *(
            "X-Forwarded-Path: /",
            "X-Forwarded-Host: localhost",
            "X-Script-Name: /healthz",
            "X-Original-Host: x",
        ),
        *("X-HTTP-Method-Override: HEAD", "X-Method-Override: OPTIONS", "X-HTTP-Method: OPTIONS"),
        *(
            "X_Api_Key: npk_x",
            "Cookie: x-api-key=npk_x",
            "Authorization: Basic bnBrOng=",
            "Authorization: Bearer",
        ),
        *(
            "Authorization: Bearer a\r\nAuthorization: Bearer b",
            "X-Api-Key: \t",
            "X-Forwarded-For: 127.0.0.1",
        ),
        *("X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Client-IP: ::1", "Via: 1.1 localhost"),
        *("Remote-User: admin", "X-Remote-User: admin", "X-Forwarded-User: admin", "X-Trusted: true"),
    ],
)
def test_no_header_opens_what_a_key_opens(server: RunningServer, headers: str) -> None:
    for method, target in (
        ("GET", "/api/tags"),
        ("POST", "/api/chat"),
        ("DELETE", "/api/delete"),
        ("GET", "/admin/"),
    ):
        assert ask(server, method, target, f"{REMOTE}{headers}\r\n")[0] == 401, f"{method} {target}"
    status, body = ask(server, "GET", "/api/version", f"{REMOTE}{headers}\r\n")
    assert (status, b"version" in body) == (200, True)


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_a_method_is_the_one_that_was_sent(server: RunningServer, header: str) -> None:
    assert ask(server, "POST", "/api/version", f"{header}: GET\r\n")[0] == 405
    assert ask(server, "GET", "/api/delete", f"{header}: DELETE\r\n")[0] == 405
    assert ask(server, "GET", "/api/delete?_method=DELETE")[0] == 405
    assert ask(server, "GET", "/", f"{header}: DELETE\r\n")[1].endswith(b"Ollama is running")


def test_a_key_in_the_address_is_no_key(server: RunningServer) -> None:
    """It would stand in logs and histories."""
    for query in ("api_key=npk_x", "key=npk_x", "access_token=npk_x"):
        assert ask(server, "GET", f"/api/tags?{query}", REMOTE)[0] == 401


def test_an_absolute_address_is_no_way_around_the_host(server: RunningServer) -> None:
    assert ask(server, "GET", "http://evil.test/api/tags")[0] in (400, 403, 404)
    assert ask(server, "GET", "http://localhost/api/tags", REMOTE)[0] in (400, 401, 404)
