"""The rules towards a hub that need none: where a redirect may lead, how long to wait, who gets the token."""

from __future__ import annotations

import email.utils
import time

import httpx
import pytest

from registry import hub_http
from registry.hub_errors import RefusedRedirect

REDIRECTS = [
    ("https://93.184.215.14/a", "https://93.184.215.14/b", True),
    ("https://93.184.215.14/a", "https://1.1.1.1/b", True),
    ("https://93.184.215.14/a", "http://93.184.215.14/a", False),
    ("https://93.184.215.14/a", "https://127.0.0.1/a", False),
    ("https://93.184.215.14/a", "https://[::1]/a", False),
    ("https://93.184.215.14/a", "https://[::ffff:127.0.0.1]/a", False),
    ("https://93.184.215.14/a", "https://169.254.169.254/latest", False),
    ("https://93.184.215.14/a", "https://10.0.0.8/a", False),
    ("https://93.184.215.14/a", "https://2130706433/a", False),
    ("https://93.184.215.14/a", "https://localhost/a", False),
    ("https://93.184.215.14/a", "file:///etc/passwd", False),
    ("http://10.0.0.8:8080/a", "http://10.0.0.9:9000/a", True),
    ("http://127.0.0.1:8080/a", "http://127.0.0.1:9000/a", True),
]


@pytest.mark.parametrize(("hub_url", "target", "allowed"), REDIRECTS)
def test_where_a_redirect_may_lead(hub_url: str, target: str, allowed: bool) -> None:
    if allowed:
        hub_http.check_redirect(httpx.URL(hub_url), httpx.URL(target))
    else:
        with pytest.raises(RefusedRedirect):
            hub_http.check_redirect(httpx.URL(hub_url), httpx.URL(target))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://hub.example", "https://hub.example:443/x", True),
        ("https://HUB.example", "https://hub.example/x", True),
        ("https://hub.example", "http://hub.example", False),
        ("https://hub.example", "https://hub.example:8443", False),
        ("https://hub.example", "https://hub.example.evil.test", False),
        ("https://hub.example", "https://hub.example@evil.test", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert hub_http.same_origin(httpx.URL(one), httpx.URL(other)) is same


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("12", 12), ("-3", 0), ("soon", 30), ("nan", 30), ("inf", 30), ("", 30), (None, 30)],
)
def test_retry_after_is_a_number_of_seconds_or_the_default(value: str | None, seconds: float) -> None:
    headers = httpx.Headers({} if value is None else {"Retry-After": value})
    assert hub_http.retry_after_s(headers) == seconds


def test_retry_after_may_be_a_date() -> None:
    headers = httpx.Headers({"Retry-After": email.utils.formatdate(time.time() + 100, usegmt=True)})
    assert 90 < hub_http.retry_after_s(headers) <= 100


def test_links_are_shown_without_what_signs_them() -> None:
    assert hub_http.shown(httpx.URL("https://u:p@cdn.example:8/x?signature=s")) == "https://cdn.example:8"
