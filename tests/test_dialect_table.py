"""The one table of endpoints, and how a request finds its operation."""

from __future__ import annotations

from typing import Any

import pytest

from compat_api import asgi, catalogue
from compat_api.urls import OPERATIONS, dialect_of, resolve


@pytest.mark.parametrize(
    ("method", "path", "name", "params"),
    [
        ("GET", "/", "heartbeat", {}),
        ("HEAD", "/", "heartbeat", {}),
        ("GET", "/api/version", "version", {}),
        ("HEAD", "/api/tags", "tags", {}),
        ("GET", "/api/ps", "ps", {}),
        ("POST", "/api/show", "show", {}),
        ("POST", "/api/chat", "chat", {}),
        ("POST", "/api/generate", "generate", {}),
        ("POST", "/api/embed", "embed", {}),
        ("GET", "/v1/models", "openai.models", {}),
        ("GET", "/v1/models/demo", "openai.model", {"id": "demo"}),
        ("GET", "/v1/models/hf.co/org/name:tag", "openai.model", {"id": "hf.co/org/name:tag"}),
        ("POST", "/v1/chat/completions", "openai.chat", {}),
        ("POST", "/v1/embeddings", "openai.embeddings", {}),
    ],
)
def test_a_request_finds_its_operation(method: str, path: str, name: str, params: dict[str, str]) -> None:
    resolved = resolve(method, path)
    assert resolved.operation is not None
    assert resolved.operation.name == name
    assert resolved.params == params


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/chat", ("POST",)),
        ("POST", "/api/tags", ("GET", "HEAD")),
        ("DELETE", "/v1/models/demo", ("GET",)),
        ("OPTIONS", "/", ("GET", "HEAD")),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(method: str, path: str, allowed: tuple[str, ...]) -> None:
    resolved = resolve(method, path)
    assert resolved.operation is None
    assert resolved.allowed == allowed


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/chat/", "/v1/models/", "/API/chat", "/v1/audio/speech", "/admin/", "", "/api/chat2"],
)
def test_another_path_is_not_ours(path: str) -> None:
    resolved = resolve("GET", path)
    assert resolved.operation is None
    assert resolved.allowed == ()


@pytest.mark.parametrize(
    ("path", "dialect", "to_claude"),
    [
        ("/v1", "openai", "anthropic"),
        ("/v1/files", "openai", "anthropic"),
        ("/v1/models", "openai", "anthropic"),
        ("/v1/models/a/b", "openai", "anthropic"),
        ("/v1/embeddings", "openai", "openai"),
        ("/v1/messages", "anthropic", "anthropic"),
        ("/v1/messages/batches", "anthropic", "anthropic"),
        ("/v1x", "ollama", "ollama"),
        ("/api/x", "ollama", "ollama"),
        ("/", "ollama", "ollama"),
    ],
)
def test_a_path_has_the_dialect_of_its_prefix_and_a_shared_one_that_of_the_client(
    path: str, dialect: str, to_claude: str
) -> None:
    assert dialect_of(path, []) == dialect
    assert dialect_of(path, [(b"anthropic-version", b"2023-06-01")]) == to_claude


def test_every_operation_is_served_once() -> None:
    def served(table: Any) -> set[str]:
        return set(table)

    assert served(asgi.CONSUMERS) == {entry.name for entry in OPERATIONS if entry.streaming}
    assert served(catalogue.VIEWS) == {entry.name for entry in OPERATIONS if not entry.streaming}
