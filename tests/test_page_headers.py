"""What pages and admin give a browser besides their text: who may frame them, what runs there, and cookies that no
other site can use. Over HTTPS in test_tls.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from conftest import RunningServer

PAGES = ("/status", "/playground", "/login", "/admin/login/")
HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
FORM = {"username": "admin", "password": "wrong"}


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as found:
        yield found


def hold(client: httpx.Client, secure: bool) -> None:
    """Every page, and the forms that sign in."""
    for path in (*PAGES, "/admin/"):
        answer = client.get(path)
        assert answer.status_code == (302 if path == "/admin/" else 200), path
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path
        policy = answer.headers["content-security-policy"].split("; ")
        assert {
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        } <= set(policy)
        assert not any("unsafe" in rule for rule in policy), path
        assert "no-store" in answer.headers["cache-control"], path
        assert not re.search(rb"<script(?![^>]*\bsrc=)[^>]*>\s*\S|\sstyle=|\son\w+=", answer.content), path
    cookie = client.get("/admin/login/").headers["set-cookie"]
    assert cookie.startswith("npuproxy_csrf=")
    assert "SameSite=Strict" in cookie
    assert ("Secure" in cookie) is secure
    forged(client)


def forged(client: httpx.Client) -> None:
    """What another site could make a browser send."""
    token = client.cookies["npuproxy_csrf"]
    origin = str(client.base_url).rstrip("/")
    own, other = {"Origin": origin, "Referer": f"{origin}/admin/"}, {"Origin": "https://evil.test"}
    assert client.post("/admin/login/", data=FORM, headers=own).status_code == 403, "without a token"
    with_token = {**FORM, "csrfmiddlewaretoken": token}
    assert client.post("/admin/login/", data=with_token, headers=other).status_code == 403, (
        "from another site"
    )
    answer = client.post("/admin/login/", data=with_token, headers=own)
    assert answer.status_code == 200, "its own form"
    assert "correct" in answer.text


def test_pages_are_framed_by_nobody_and_forms_are_sent_from_here_alone(client: httpx.Client) -> None:
    hold(client, secure=False)


def test_who_signs_in_has_a_cookie_that_scripts_and_other_sites_cannot_read(
    client: httpx.Client, server: RunningServer
) -> None:
    password = re.search(r"password\W+(\S{12,})", server.log())
    assert password, server.log()
    token = client.get("/admin/login/").cookies["npuproxy_csrf"]
    form = {"username": "admin", "password": password[1], "csrfmiddlewaretoken": token}
    answer = client.post("/admin/login/?next=/admin/", data=form, headers={"Origin": server.url})
    assert answer.status_code == 302
    session = next(
        found for found in answer.headers.get_list("set-cookie") if found.startswith("npuproxy_session=")
    )
    assert "HttpOnly" in session
    assert "SameSite=Strict" in session
    page = client.get("/admin/")
    assert (page.status_code, page.headers["x-frame-options"]) == (200, "DENY")
    assert "script-src 'self'" in page.headers["content-security-policy"]
