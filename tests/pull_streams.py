"""POST /api/pull as clients send it, and the rows of a server as they lie in its database."""

from __future__ import annotations

import http.client
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from conftest import RunningServer

WAIT_S = 60.0
"""A bound for a loaded machine; nothing here is expected to take as long."""

Frame = dict[str, Any]
T = TypeVar("T")


@contextmanager
def opened(
    server: RunningServer, name: str, headers: dict[str, str] | None = None, **body: Any
) -> Iterator[http.client.HTTPResponse]:
    """An answer whose head has arrived."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)) as connection:
        connection.request("POST", "/api/pull", json.dumps({"model": name, **body}), headers or {})
        with closing(connection.getresponse()) as response:
            yield response


def frames(response: http.client.HTTPResponse) -> Iterator[Frame]:
    for line in response:
        yield json.loads(line)


def pull(server: RunningServer, name: str, headers: dict[str, str] | None = None, **body: Any) -> list[Frame]:
    """Every frame of it, in the order in which they came."""
    with opened(server, name, headers, **body) as response:
        assert response.status == 200, response.read()
        return list(frames(response))


def error_of(server: RunningServer, name: str, **body: Any) -> str:
    """The words with which a pull of that name ends, which has to fail."""
    last = pull(server, name, **body)[-1]
    assert set(last) == {"error"}, last
    return str(last["error"])


def until_bytes(response: http.client.HTTPResponse, at_least: int = 1) -> Frame:
    """The first frame that tells of so many bytes of one file."""
    for frame in frames(response):
        if frame.get("completed", 0) >= at_least:
            return frame
    raise AssertionError("the stream ended before that")


def rows(server: RunningServer, name: str = "") -> list[dict[str, Any]]:
    """The pulls of that name (or all), the oldest first."""
    with closing(sqlite3.connect(server.data_dir / "npuproxy.sqlite3", timeout=10)) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM registry_download ORDER BY id").fetchall()
    return [dict(row) for row in found if name in row["name"]]


def until_row(server: RunningServer, name: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The last pull of that name, once it is so."""

    def look() -> dict[str, Any] | None:
        found = rows(server, name)
        return found[-1] if found and fits(found[-1]) else None

    return until(look, lambda: f"{rows(server, name)[-1:]}\n{server.log()[-4000:]}")


def until_ended(server: RunningServer, name: str) -> dict[str, Any]:
    return until_row(server, name, lambda row: row["state"] not in ("queued", "running"))


def until(look: Callable[[], T | None], told: Callable[[], str] = str) -> T:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {WAIT_S:g} s: {told()}")


def models(server: RunningServer) -> set[str]:
    """The names that /api/tags tells."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)) as connection:
        connection.request("GET", "/api/tags")
        return {str(model["name"]) for model in json.load(connection.getresponse())["models"]}
