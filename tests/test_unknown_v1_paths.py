"""What is not there under /v1 is told in OpenAI's shape, so that its clients raise what they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from conftest import RunningServer
from wire_clients import v1

Ask = Callable[[openai.OpenAI], Any]

NOT_FOUND: tuple[Ask, ...] = (
    lambda client: client.images.generate(prompt="x"),
    lambda client: client.images.edit(prompt="x", image=b"x"),
    lambda client: client.audio.speech.create(model="demo", voice="alloy", input="x"),
    lambda client: client.audio.translations.create(model="demo", file=b"x"),
    lambda client: client.moderations.create(input="x"),
    lambda client: client.files.list(),
    lambda client: client.files.create(file=b"x", purpose="batch"),
    lambda client: client.batches.list(),
    lambda client: client.fine_tuning.jobs.list(),
    lambda client: client.beta.assistants.list(),
    lambda client: client.vector_stores.list(),
    lambda client: client.responses.retrieve("resp_1"),
    lambda client: client.responses.delete("resp_1"),
    lambda client: client.responses.cancel("resp_1"),
    lambda client: client.responses.input_items.list("resp_1"),
)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # of the client's: assistants
@pytest.mark.parametrize("ask", NOT_FOUND)
def test_the_client_raises_not_found(server: RunningServer, ask: Ask) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(v1(server.url))
    assert caught.value.body == {
        "message": "404 page not found",
        "type": "not_found_error",
        "param": None,
        "code": None,
    }
    assert caught.value.response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/v1/responses", "POST"),
        ("DELETE", "/v1/models/demo", "GET"),
        ("PATCH", "/v1/embeddings", "POST"),
    ],
)
def test_another_method_is_told_with_the_right_ones(
    server: RunningServer, method: str, path: str, allowed: str
) -> None:
    answer = httpx.request(method, f"{server.url}{path}", timeout=30)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["message"] == "405 method not allowed"


def test_the_head_of_an_unknown_path_has_no_body(server: RunningServer) -> None:
    answer = httpx.head(f"{server.url}/v1/files", timeout=30)
    assert (answer.status_code, answer.content) == (404, b"")
