"""What Ollama's clients ask of its cloud, of a server that has none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from conftest import RunningServer


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/api/status", 200, {"cloud": {"disabled": True, "source": "config"}}),
        ("POST", "/api/me", 401, {"error": "unauthorized"}),
        ("POST", "/api/signout", 200, None),
        ("DELETE", "/api/user/keys/abc", 200, None),
        (
            "POST",
            "/api/experimental/web_search",
            403,
            {"error": "ollama cloud is disabled: web search is unavailable"},
        ),
        (
            "POST",
            "/api/experimental/web_fetch",
            403,
            {"error": "ollama cloud is disabled: web fetch is unavailable"},
        ),
    ],
)
def test_each_question_has_its_answer(
    server: RunningServer, method: str, path: str, status: int, body: Any
) -> None:
    answer = httpx.request(method, server.url + path, timeout=60)
    assert (answer.status_code, answer.json()) == (status, body)


def test_recommended_are_models_that_can_be_pulled_and_are_not_here(server: RunningServer) -> None:
    answer = httpx.get(f"{server.url}/api/experimental/model-recommendations", timeout=60)
    recommended = answer.json()["recommendations"]
    known = {
        model["name"]: model
        for model in httpx.get(f"{server.url}/api/models/known", timeout=60).json()["models"]
    }
    assert recommended
    for model in recommended:
        assert set(model) == {"model", "description", "context_length"}
        assert (known[model["model"]]["type"], known[model["model"]]["installed"]) == ("chat", False)
