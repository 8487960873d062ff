"""The WebSocket behind the status page: a whole picture first, then what changed; who does not read is left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pages
import pytest
from conftest import RunningServer
from keys import apikey
from socket_client import dial
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from inference.telemetry.readings import Readings
from npuproxy.page.history import SAMPLES, History
from npuproxy.page.picture import Picture, difference
from npuproxy.page.publisher import Page, Publisher

PATH = "/status/ws"


def message(page: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.recv(timeout=30))
    return found


def read_on(page: ClientConnection) -> None:
    for _ in range(60):
        message(page)


def until_section(page: ClientConnection, name: str, text: str) -> dict[str, Any]:
    """The first change of that section that has the text."""
    for _ in range(60):
        part = message(page).get("changed", {}).get(name, {})
        if text in json.dumps(part):
            found: dict[str, Any] = part
            return found
    raise AssertionError(f"{text} never came")


def test_first_the_whole_then_what_changed_and_never_twice_a_second(server: RunningServer) -> None:
    with dial(server, PATH) as page:
        whole = message(page)["whole"]
        assert set(whole) == {"server", "devices", "running", "models", "downloads", "requests"}
        assert "demo:latest" in whole["models"]["order"]
        assert all(set(part["order"]) == set(part["rows"]) for part in whole.values())
        pages.chat(server, "page-socket")
        part = until_section(page, "requests", "page-socket")
        (key,) = [key for key in part["rows"] if key.startswith("page-socket ")]
        assert part["order"][0] == key
        assert set(part["rows"]) == {key}, "rows that stayed as they were are not sent again"
        assert "How do I pull" not in json.dumps(part)
        times = [message(page)["time"] for _ in range(3)]
        assert all(later - earlier > 0.5 for earlier, later in pairwise(times))


def test_a_key_that_is_revoked_closes_the_page_and_without_one_nobody_from_elsewhere_looks(
    server: RunningServer,
) -> None:
    elsewhere = {"X-Forwarded-For": "192.0.2.7"}
    with pytest.raises(InvalidStatus) as refused:
        dial(server, PATH, additional_headers=elsewhere)
    assert refused.value.response.status_code == 401
    made = apikey(server, "create", "watcher", "--scope", "infer")
    with dial(
        server, PATH, additional_headers=elsewhere, subprotocols=["npuproxy", f"bearer.{made['key']}"]
    ) as page:
        assert page.subprotocol == "npuproxy"
        assert message(page)["whole"]
        apikey(server, "revoke", "watcher")
        with pytest.raises(ConnectionClosed) as closed:
            read_on(page)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


def test_a_page_of_another_site_cannot_look(server: RunningServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        dial(server, PATH, origin="https://evil.example")
    assert refused.value.response.status_code == 403


def picture(**sections: dict[str, dict[str, Any]]) -> Picture:
    return Picture(0.0, sections)


def test_a_page_that_does_not_read_is_left_out_and_then_gets_the_whole() -> None:
    publisher = Publisher()
    sent: dict[str, list[str]] = {"reads": [], "stalls": []}
    stalls = True

    def page(name: str, is_open: Callable[[], bool]) -> Page:
        async def send(text: str) -> None:
            sent[name].append("whole" if '"whole"' in text else text)

        return Page(send, is_open)

    async def four_times() -> None:
        nonlocal stalls
        for one in (page("reads", lambda: True), page("stalls", lambda: not stalls)):
            publisher.join(one)
        await publisher._send(picture(), "first")
        await publisher._send(picture(), "second")
        assert sent == {"reads": ["whole", "second"], "stalls": []}
        stalls = False
        await publisher._send(picture(), "third")
        await publisher._send(picture(), "fourth")

    asyncio.run(four_times())
    assert sent == {"reads": ["whole", "second", "third", "fourth"], "stalls": ["whole", "fourth"]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": {"n": 1}}, {"a": {"n": 1}}, {}),
        ({"a": {"n": 1, "m": 2}}, {"a": {"n": 3, "m": 2}}, {"rows": {"a": {"n": 3}}}),
        ({}, {"a": {"n": 1}}, {"rows": {"a": {"n": 1}}, "order": ["a"]}),
        ({"a": {"n": 1}, "b": {"n": 2}}, {"b": {"n": 2}}, {"order": ["b"]}),
        ({"a": {"n": 1}, "b": {"n": 2}}, {"b": {"n": 2}, "a": {"n": 1}}, {"order": ["b", "a"]}),
        ({"a": {"n": 1}}, {}, {"order": []}),
    ],
)
def test_a_difference_has_what_changed_and_nothing_else(
    old: dict[str, Any], new: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = difference(picture(s=old), picture(s=new))
    assert found == ({"s": expected} if expected else {})


def test_the_lines_are_bounded_and_know_the_rate_between_two_samples() -> None:
    history = History()
    history.take(100.0, 50, Readings())
    assert history.last is None, "one look says nothing of a rate"
    history.take(102.0, 250, Readings())
    assert history.last == (102.0, 100.0, None, None)
    for second in range(SAMPLES + 50):
        history.take(200.0 + second, 250, Readings())
    assert len(history.since(0.0)) == SAMPLES
    assert len(history.since(200.0 + SAMPLES + 40)) == 9
