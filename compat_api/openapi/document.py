"""The OpenAPI document, made from the table of endpoints and the types beside it; encoded once."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from compat_api import embeddings, generation
from compat_api.dialect import JSON, JSON_UTF8, NDJSON
from compat_api.openapi import native_answers as native
from compat_api.openapi import parameters, schemas
from compat_api.openapi import wire_answers as wire
from compat_api.openapi.endpoints import ENDPOINTS, TEXT, Endpoint
from compat_api.openapi.parameters import Json
from compat_api.stream_ws import requests as socket
from compat_api.urls import OPERATIONS, Operation
from compat_api.wire_view import WireView

_ERRORS: Final[dict[str, Any]] = {
    "ollama": native.NativeError,
    "openai": wire.OpenAIError,
    "anthropic": wire.AnthropicError,
}
_TAGS: Final = {
    "ollama": "Ollama's API, and ours",
    "openai": "OpenAI's API",
    "anthropic": "Anthropic's API",
}
_SOCKET: Final = {
    "client": (socket.WireRequest, socket.WireEnvelope),
    "server": (wire.SocketPiece, wire.SocketLast, wire.SocketError),
}
_ABOUT: Final = (
    "Paths of Ollama's, OpenAI's and Anthropic's APIs on one port. Unknown fields of a body are ignored, and null is "
    "the same as absent. Programs on this machine need no key, but for the scope admin; `security` names "
    "the scope that a key needs."
)
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer npk_…"},
    "x-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "as Anthropic's clients",
    },
}


class OpenApiView(WireView):
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(_encoded(), content_type="application/json")


@cache
def _encoded() -> bytes:
    return orjson.dumps(document())


def document() -> Json:
    """Made anew with each call."""
    types = _types()
    found, components = schemas.of(types)
    refers = {_key(kind): schema for kind, schema in zip(types, found, strict=True)}
    for endpoint in ENDPOINTS.values():
        if endpoint.body is not None and endpoint.needs:
            name = refers[_key(endpoint.body)]["$ref"].rpartition("/")[2]
            schemas.required(components[name], endpoint.needs)
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        for method in operation.methods:
            paths.setdefault(operation.path, {})[method.lower()] = _Shown(
                operation, method, refers
            ).operation()
    return {
        "openapi": "3.1.0",
        "info": {"title": "npuproxy", "version": settings.VERSION, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": says} for name, says in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "parameters": parameters.components(),
            "headers": parameters.headers(),
            "securitySchemes": _SECURITY,
        },
    }


def _types() -> list[Any]:
    """Each once, in the order of their first use."""
    wanted: list[Any] = [*_ERRORS.values(), native.Contents, *_SOCKET["client"], *_SOCKET["server"]]
    for endpoint in ENDPOINTS.values():
        answers = endpoint.answer if isinstance(endpoint.answer, tuple) else (endpoint.answer,)
        wanted += [*answers, endpoint.body, endpoint.streams, *(kind for _, kind in endpoint.also)]
    return list({_key(kind): kind for kind in wanted if kind is not None}.values())


def _key(kind: Any) -> str:
    """Equal for types that are equal, unlike their identity: `list[X]` is made anew each time."""
    return f"{getattr(kind, '__module__', '')}.{kind!r}"


class _Shown:
    """One method of one operation."""

    def __init__(self, operation: Operation, method: str, refers: dict[str, Json]) -> None:
        self._of = operation
        self._head = method == "HEAD"
        self._method = method
        self._says: Endpoint = ENDPOINTS[operation.name]
        self._refers = refers
        places = (generation.DIALECTS, embeddings.DIALECTS, ("routes.explain", "stream.ws"))
        self._placed = any(operation.name in names for names in places)

    def operation(self) -> Json:
        operation, says = self._of, self._says
        shown: Json = {
            "operationId": self._id(),
            "summary": says.summary,
            "tags": [operation.dialect],
            "parameters": parameters.of(operation, self._placed, says.query),
            "responses": self._responses(),
            "security": self._security(),
            "x-scope": operation.scope,
        }
        if says.body is not None:
            shown["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": self._schema(says.body)}},
            }
        elif operation.takes_file and not self._head:
            shown["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
        if operation.socket:
            shown["x-messages"] = {
                side: {"anyOf": [self._schema(kind) for kind in kinds]} for side, kinds in _SOCKET.items()
            }
        return shown

    def _id(self) -> str:
        """The operation's name, for the first of its methods."""
        name, first = self._of.name, self._of.methods[0]
        return name if self._method == first else f"{name}.{self._method.lower()}"

    def _security(self) -> list[Json]:
        if self._of.scope == "open":
            return []
        here: list[Json] = [] if self._of.scope == "admin" else [{}]
        return [{name: [self._of.scope]} for name in _SECURITY] + here

    def _responses(self) -> Json:
        says = self._says
        answers: dict[int, Json] = {
            status: self._error(status) for status in self._failures() if status >= 400
        }
        answers[says.status] = (
            self._error(says.status)
            if says.status >= 400
            else self._answer(says.status, self._content(says.answer, says.streams))
        )
        for status, kind in says.also:
            answers[status] = self._answer(status, self._content(kind, None))
        shown: Json = {str(status): answers[status] for status in sorted(answers)}
        shown["default"] = self._error(None)
        return shown

    def _failures(self) -> set[int]:
        operation, says = self._of, self._says
        found = {401, 403, 429} if operation.scope != "open" else {403}
        if says.body is not None or says.query or self._placed:
            found |= {400}
        if says.body is not None or operation.takes_file:
            found |= {413}
        if operation.path.endswith("{id}") or "model" in says.needs:
            found |= {404}
        if operation.socket:
            found |= {426}
        return found | ({503, 504} if self._placed else set())

    def _answer(self, status: int, content: Json) -> Json:
        shown: Json = {"description": _phrase(status), "headers": self._headers(status)}
        if content and not self._head:
            shown["content"] = content
        return shown

    def _headers(self, status: int) -> Json:
        facts = parameters.FACTS if self._placed and status == 200 else ()
        return {name: {"$ref": f"#/components/headers/{name}"} for name in (*parameters.ALWAYS, *facts)}

    def _content(self, kind: Any, streams: Any) -> Json:
        """By media type."""
        if self._of.name == "heartbeat":
            contents = {"application/json": {"schema": self._schema(native.Contents)}}
            return {
                TEXT: {"schema": {"type": "string"}},
                "text/html": {"schema": {"type": "string"}},
                **contents,
            }
        if kind is None:
            return {}
        if kind is str:
            return {TEXT: {"schema": {"type": "string"}}}
        content = {self._media(): {"schema": self._schema(kind)}}
        if streams is not None:
            content[self._stream_media()] = {"schema": self._schema(streams)}
        return content

    def _media(self) -> str:
        dialect = generation.DIALECTS.get(self._of.name) or embeddings.DIALECTS.get(self._of.name)
        native_json = JSON_UTF8 if self._of.dialect == "ollama" else JSON
        return _bare(dialect.whole_type if dialect is not None else native_json)

    def _stream_media(self) -> str:
        dialect = generation.DIALECTS.get(self._of.name)
        return _bare(dialect.stream_type if dialect is not None else NDJSON)

    def _error(self, status: int | None) -> Json:
        """None: any other. Where it is shared, of either API."""
        both = (_ERRORS["openai"], _ERRORS["anthropic"])
        schema = self._schema(both if self._of.shared else _ERRORS[self._of.dialect])
        says = "any other error" if status is None else _phrase(status)
        shown: Json = {"description": says}
        if not self._head:
            shown["content"] = {"application/json": {"schema": schema}}
        if status in (429, 503):
            wait = {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}
            shown["headers"] = {"Retry-After": wait}
        return shown

    def _schema(self, kind: Any) -> Json:
        if isinstance(kind, tuple):
            return {"anyOf": [self._schema(one) for one in kind]}
        return self._refers[_key(kind)]


def _bare(media: bytes) -> str:
    return media.decode().partition(";")[0]


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
