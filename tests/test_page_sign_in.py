"""Who comes from elsewhere signs in, and can then do what their rights say; whoever tries passwords is slowed down."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from conftest import RunningServer, start_server
from server_rows import manage

from npuproxy.page.sign_in import FREE_TRIES, WAIT_S, Failures

ELSEWHERE = "192.0.2.7"


class Visitor:
    """A browser behind a proxy: it keeps cookies, and sends no key of its own."""

    def __init__(self, server: RunningServer, address: str = ELSEWHERE) -> None:
        self._server = server
        self._address = address
        self.cookies: dict[str, str] = {}
        self.headers = http.client.HTTPMessage()

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"X-Forwarded-For": self._address, "Accept": "text/html", "Cookie": shown, **headers}
        connection.request(method, path, body, {name: value for name, value in sent.items() if value})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        self.headers = answer.headers
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, text

    def sign_in(self, user: str, password: str) -> int:
        _, form = self.ask("GET", "/login?next=/playground")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token, form
        fields = {
            "csrfmiddlewaretoken": token[1],
            "username": user,
            "password": password,
            "next": "/playground",
        }
        return self.ask("POST", "/login", urlencode(fields), **_FORM)[0]

    def key(self) -> str:
        """Of the page that is open."""
        _, page = self.ask("GET", "/status")
        found = re.search(r'data-key="([^"]+)"', page)
        assert found, page[:2000]
        return found[1]


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def password() -> str:
    return "a long enough password"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, password: str) -> Iterator[RunningServer]:
    """With the user `viewer`, who has no rights, and `admin`."""
    server = start_server(tmp_path_factory.mktemp("site")).wait_until_ready()
    script = (
        "from django.contrib.auth import get_user_model as users;"
        f"users().objects.create_user('viewer', password='{password}');"
        f"admin = users().objects.get(username='admin'); admin.set_password('{password}'); admin.save()"
    )
    done = manage(server.data_dir, "shell", "-c", script)
    assert done.returncode == 0, done.stderr
    yield server
    server.stop()


def test_a_sign_in_opens_the_pages_and_its_rights_are_the_keys_rights(
    site: RunningServer, password: str
) -> None:
    viewer = Visitor(site)
    for path in ("/", "/status", "/playground"):
        status, _ = viewer.ask("GET", path)
        assert (status, viewer.headers["Location"].partition("?")[0]) == (302, "/login")
    assert viewer.ask("GET", "/login")[0] == 200
    assert "script-src 'self'" in viewer.headers["Content-Security-Policy"]
    assert viewer.sign_in("viewer", "wrong") == 200, "the form again"
    assert viewer.sign_in("viewer", password) == 302
    assert viewer.headers["Location"] == "/playground"
    assert "HttpOnly" in str(viewer.headers.get_all("Set-Cookie"))
    status, page = viewer.ask("GET", "/status")
    assert status == 200
    assert 'class="looks"' in page, "no buttons for who may only look"
    key = viewer.key()
    assert viewer.ask("GET", "/api/tags", **{"X-API-Key": key})[0] == 200
    assert viewer.ask("POST", "/efficiency", '{"mode": "Quiet"}', **{"X-API-Key": key})[0] == 403
    assert viewer.ask("GET", "/admin/", **{"X-API-Key": key})[0] == 403
    assert viewer.ask("GET", "/api/tags")[0] == 401, "a cookie alone opens no API"

    admin = Visitor(site)
    assert admin.sign_in("admin", password) == 302
    key = admin.key()
    assert admin.ask("POST", "/efficiency", '{"mode": "Auto"}', **{"X-API-Key": key})[0] == 200
    status, text = admin.ask("GET", "/login/key")
    assert status == 200
    newer = json.loads(text)["key"]
    assert admin.ask("GET", "/api/tags", **{"X-API-Key": key})[0] == 401, "the one before has ended"
    assert admin.ask("GET", "/api/tags", **{"X-API-Key": newer})[0] == 200
    _, page = admin.ask("GET", "/status")
    key = re.findall(r'data-key="([^"]+)"', page)[0]
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
    assert admin.ask("POST", "/logout", "", **_FORM)[0] == 403, "another site cannot sign anybody out"
    assert admin.ask("POST", "/logout", urlencode({"csrfmiddlewaretoken": token}), **_FORM)[0] == 302
    assert admin.ask("GET", "/api/tags", **{"X-API-Key": key})[0] == 401
    assert admin.ask("GET", "/login/key")[0] == 401


def test_passwords_are_not_tried_for_long(site: RunningServer, password: str) -> None:
    thief = Visitor(site, "192.0.2.66")
    assert [thief.sign_in("admin", f"guess {count}") for count in range(FREE_TRIES)] == [200] * FREE_TRIES
    assert thief.sign_in("admin", password) == 429
    assert 0 < int(thief.headers["Retry-After"]) <= WAIT_S


def test_a_failure_is_forgotten_in_time_and_their_number_is_bounded() -> None:
    failures = Failures()
    for _ in range(FREE_TRIES):
        assert failures.wait_s("a", 0.0) == 0.0
        failures.note("a", 0.0)
    assert failures.wait_s("a", 0.0) == WAIT_S
    assert failures.wait_s("a", WAIT_S) == 0.0
    assert failures.wait_s("b", 0.0) == 0.0
    for count in range(5000):
        failures.note(str(count), 0.0)
    assert failures.wait_s("a", 0.0) == 0.0
    assert len(failures._seen) == 4096
