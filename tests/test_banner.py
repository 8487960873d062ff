"""What a new user reads first."""

from __future__ import annotations

import json
import shlex

import pytest

from npuproxy import banner


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("auto", "http://127.0.0.1:1"),
        ("localhost", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://127.0.0.1:1"),
        ("192.168.1.7", "http://192.168.1.7:1"),
        ("::1", "http://[::1]:1"),
        ("box.local", "http://box.local:1"),
    ],
)
def test_the_address_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert banner.url(host, 1) == url


@pytest.mark.parametrize("windows", [False, True])
def test_the_curl_line_survives_the_shell(windows: bool) -> None:
    words = shlex.split(banner.curl("http://127.0.0.1:1", windows))
    assert words[:3] == ["curl.exe" if windows else "curl", "http://127.0.0.1:1/api/chat", "-d"]
    assert json.loads(words[3])["model"] == "demo"


def test_the_password_is_shown_when_there_is_one() -> None:
    assert "password geheim" in banner.text("1.0", "http://a", 0.5, "geheim")
    assert "password" not in banner.text("1.0", "http://a", 0.5, None)
