"""The one table of wire endpoints: method and path -> operation.

The gate resolves a request once and writes the result into the scope; everything behind it routes by that
value and never looks at the path again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

DialectName = Literal["ollama", "openai", "anthropic"]
Scope = Literal["open", "infer", "manage", "admin"]


class Operation(Struct, frozen=True):
    """What an endpoint does. `scope` is what a key needs; 'open' needs no key from anywhere."""

    name: str
    dialect: DialectName
    scope: Scope
    methods: tuple[str, ...]
    path: str
    """Literal, or ending in '/{id}', which takes the rest of the path, slashes included."""
    streaming: bool = False
    """Served by a consumer of ours (inference); the others are Django views."""
    shared: bool = False
    """Of OpenAI's API and of Anthropic's alike: the header anthropic-version tells whose client asks."""
    socket: bool = False
    """A WebSocket: nothing but a handshake is answered."""
    probe: bool = False
    """Asked every few seconds by machines: its log line is for debugging alone."""
    takes_file: bool = False
    """The body of a POST is a file: it arrives on disk, and the scope has it as `npuproxy.upload`."""


class Resolved(Struct, frozen=True):
    """`operation` None and `allowed` filled: the path is ours, the method not. Both empty: not our path."""

    operation: Operation | None = None
    params: dict[str, str] = {}
    allowed: tuple[str, ...] = ()


_READ = ("GET", "HEAD")
_GET = ("GET",)
_POST = ("POST",)

OPERATIONS: tuple[Operation, ...] = (
    Operation("heartbeat", "ollama", "open", _READ, "/"),
    Operation("version", "ollama", "open", _READ, "/api/version"),
    Operation("openapi", "ollama", "open", _READ, "/openapi.json"),
    Operation("tags", "ollama", "infer", _READ, "/api/tags"),
    Operation("show", "ollama", "infer", _POST, "/api/show"),
    Operation("ps", "ollama", "infer", _GET, "/api/ps"),
    Operation("models.known", "ollama", "infer", _READ, "/api/models/known"),
    Operation("search", "ollama", "infer", _GET, "/api/search"),
    Operation("cloud.status", "ollama", "infer", _GET, "/api/status"),
    Operation("cloud.me", "ollama", "infer", _POST, "/api/me"),
    Operation("cloud.signout", "ollama", "infer", _POST, "/api/signout"),
    Operation("cloud.keys", "ollama", "infer", ("DELETE",), "/api/user/keys/{id}"),
    Operation("recommendations", "ollama", "infer", _GET, "/api/experimental/model-recommendations"),
    Operation("cloud.web_search", "ollama", "infer", _POST, "/api/experimental/web_search"),
    Operation("cloud.web_fetch", "ollama", "infer", _POST, "/api/experimental/web_fetch"),
    Operation("chat", "ollama", "infer", _POST, "/api/chat", streaming=True),
    Operation("generate", "ollama", "infer", _POST, "/api/generate", streaming=True),
    Operation("embed", "ollama", "infer", _POST, "/api/embed", streaming=True),
    Operation("embeddings", "ollama", "infer", _POST, "/api/embeddings", streaming=True),
    Operation("pull", "ollama", "manage", _POST, "/api/pull", streaming=True),
    Operation("pull.cancel", "ollama", "manage", ("DELETE",), "/api/pull"),
    Operation("push", "ollama", "manage", _POST, "/api/push", streaming=True),
    Operation("create", "ollama", "manage", _POST, "/api/create", streaming=True),
    Operation("copy", "ollama", "manage", _POST, "/api/copy"),
    Operation("delete", "ollama", "manage", ("DELETE",), "/api/delete"),
    Operation("requests.cancel", "ollama", "manage", ("DELETE",), "/api/requests"),
    Operation("blob", "ollama", "manage", ("HEAD", "POST"), "/api/blobs/{id}", takes_file=True),
    Operation("backends", "ollama", "infer", _GET, "/backends"),
    Operation("thermal", "ollama", "infer", _GET, "/thermal"),
    Operation("routes.explain", "ollama", "manage", _POST, "/routes/explain", streaming=True),
    Operation("efficiency", "ollama", "infer", _GET, "/efficiency"),
    Operation("efficiency.choose", "ollama", "manage", _POST, "/efficiency"),
    Operation("healthz", "ollama", "open", _READ, "/healthz", probe=True),
    Operation("liveness", "ollama", "open", _READ, "/health/liveness", probe=True),
    Operation("readyz", "ollama", "infer", _READ, "/readyz", probe=True),
    Operation("readiness", "ollama", "infer", _READ, "/health/readiness", probe=True),
    Operation("health", "ollama", "infer", _READ, "/health", probe=True),
    Operation("health.devices", "ollama", "infer", _READ, "/health/devices", probe=True),
    Operation("metrics", "ollama", "infer", _READ, "/metrics", probe=True),
    Operation("openai.models", "openai", "infer", _GET, "/v1/models", shared=True),
    Operation("openai.model", "openai", "infer", _GET, "/v1/models/{id}", shared=True),
    Operation("openai.chat", "openai", "infer", _POST, "/v1/chat/completions", streaming=True),
    Operation("openai.completions", "openai", "infer", _POST, "/v1/completions", streaming=True),
    Operation("openai.responses", "openai", "infer", _POST, "/v1/responses", streaming=True),
    Operation("openai.embeddings", "openai", "infer", _POST, "/v1/embeddings", streaming=True),
    Operation("openai.tokenize", "openai", "infer", _POST, "/v1/tokenize", streaming=True),
    Operation("openai.detokenize", "openai", "infer", _POST, "/v1/detokenize", streaming=True),
    Operation("stream.ws", "openai", "infer", _GET, "/v1/stream/ws", streaming=True, socket=True),
    Operation("anthropic.messages", "anthropic", "infer", _POST, "/v1/messages", streaming=True),
    Operation("anthropic.count", "anthropic", "infer", _POST, "/v1/messages/count_tokens", streaming=True),
)

_REST = "{id}"
_EXACT = {
    path: tuple(operation for operation in OPERATIONS if operation.path == path)
    for path in {operation.path for operation in OPERATIONS if not operation.path.endswith(_REST)}
}
_PREFIXED = tuple(
    (operation.path.removesuffix(_REST), operation)
    for operation in OPERATIONS
    if operation.path.endswith(_REST)
)
_NOT_OURS = Resolved()
_OPENAI_ALONE = frozenset(
    operation.path for operation in OPERATIONS if operation.dialect == "openai" and not operation.shared
)


def resolve(method: str, path: str) -> Resolved:
    """What answers `method path`; `path` is percent-decoded and starts with '/'."""
    exact = _EXACT.get(path)
    if exact is not None:
        return _by_method(method, exact, {})
    for prefix, operation in _PREFIXED:
        if path.startswith(prefix) and len(path) > len(prefix):
            return _by_method(method, (operation,), {"id": path[len(prefix) :]})
    return _NOT_OURS


def endpoint_of(path: str) -> str:
    """The table's path that `path` belongs to, whatever the method; '' for none."""
    if path in _EXACT:
        return path
    found = (
        operation.path
        for prefix, operation in _PREFIXED
        if path.startswith(prefix) and len(path) > len(prefix)
    )
    return next(found, "")


def _by_method(method: str, operations: tuple[Operation, ...], params: dict[str, str]) -> Resolved:
    for operation in operations:
        if method in operation.methods:
            return Resolved(operation, params)
    return Resolved(None, params, tuple(name for operation in operations for name in operation.methods))


def dialect_of(path: str, headers: Iterable[tuple[bytes, bytes]]) -> DialectName:
    """Who is spoken to, and whose error envelope a path gets, known or not. `headers` have lower-case names."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return "anthropic"
    if path != "/v1" and not path.startswith("/v1/"):
        return "ollama"
    if path in _OPENAI_ALONE:
        return "openai"
    return "anthropic" if any(name == b"anthropic-version" for name, _ in headers) else "openai"
