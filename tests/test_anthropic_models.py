"""GET /v1/models for Anthropic's clients: its shape, and its pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from wire_clients import claude, native

from compat_api import anthropic
from inference.errors import BadRequest

SPEAKS = {"anthropic-version": "2023-06-01"}
COPIES = [f"page-{number}:latest" for number in range(4)]


@pytest.fixture(scope="module")
def copies(server: RunningServer) -> Iterator[RunningServer]:
    """The shared server, with four more names for one of its models."""
    for name in COPIES:
        native(server.url).copy("demo", name)
    yield server
    for name in COPIES:
        native(server.url).delete(name)


def page(server: RunningServer, **query: Any) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/v1/models", params=query, headers=SPEAKS, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    ids = [entry["id"] for entry in found["data"]]
    assert (found["first_id"], found["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return {"ids": ids, "more": found["has_more"]}


def test_without_a_limit_all_are_on_one_page(copies: RunningServer) -> None:
    listed = claude(copies.url).models.list()
    ids = [model.id for model in listed.data]
    assert {"demo:latest", *COPIES} <= set(ids)
    assert "all-minilm:latest" not in ids
    assert (listed.has_more, listed.first_id, listed.last_id) == (False, ids[0], ids[-1])


def test_one_model_has_its_shape_and_others_openais(server: RunningServer) -> None:
    model = claude(server.url).models.retrieve("demo")
    assert (model.id, model.type, model.display_name) == ("demo", "model", "demo")
    assert "object" in httpx.get(f"{server.url}/v1/models?limit=1").json()


def test_pages_go_forth_and_back(copies: RunningServer) -> None:
    ids = page(copies)["ids"]
    count = len(ids)
    assert page(copies, limit=2) == {"ids": ids[:2], "more": True}
    assert page(copies, limit=2, after_id=ids[1]) == {"ids": ids[2:4], "more": count > 4}
    assert page(copies, limit=count) == page(copies, limit=1000) == {"ids": ids, "more": False}
    assert page(copies, after_id=ids[0]) == {"ids": ids[1:], "more": False}
    assert page(copies, limit=2, after_id=ids[-1]) == {"ids": [], "more": False}
    assert page(copies, limit=2, before_id=ids[-1]) == {"ids": ids[-3:-1], "more": True}
    assert page(copies, limit=2, before_id=ids[2]) == {"ids": ids[:2], "more": False}
    assert page(copies, before_id=ids[0]) == {"ids": [], "more": False}


def test_the_client_follows_the_pages(copies: RunningServer) -> None:
    ids = page(copies)["ids"]
    assert [model.id for model in claude(copies.url).models.list(limit=2)] == ids
    last = claude(copies.url).models.list(limit=2, before_id=ids[-1])
    assert {model.id for model in last} == set(ids[:-1])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        *(
            ({"limit": limit}, f"limit: {limit!r} is no number from 1 to 1000")
            for limit in ("0", "-1", "1001")
        ),
        *(({"limit": limit}, f"limit: {limit!r} is no number from 1 to 1000") for limit in ("x", "1.5", "²")),
        ({"after_id": "nope"}, "after_id: 'nope' is no id of this list"),
        ({"before_id": "nope"}, "before_id: 'nope' is no id of this list"),
        ({"after_id": "demo:latest", "before_id": "demo:latest"}, "give either after_id or before_id"),
    ],
)
def test_a_bad_value_is_named(server: RunningServer, query: dict[str, str], words: str) -> None:
    answer = httpx.get(f"{server.url}/v1/models", params=query, headers=SPEAKS, timeout=30)
    fault = answer.json()["error"]
    assert (answer.status_code, fault["type"]) == (400, "invalid_request_error")
    assert words in fault["message"]


def test_no_model_is_an_empty_page() -> None:
    empty = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert anthropic.models((), anthropic.parse_page({"limit": "5"})) == empty
    with pytest.raises(BadRequest, match="after_id"):
        anthropic.models((), anthropic.parse_page({"after_id": "demo"}))
