"""The base of what does not stream: DRF views that answer as the dialects do.

Accept, Content-Type and `?format=` are not looked at, and errors have the dialect's own envelope. The gate
has checked the method and written the operation into the scope.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import orjson
from django.http import HttpResponseBase
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from compat_api import encoded_body, errors
from compat_api.request_log import RequestLog
from compat_api.urls import DialectName, Operation
from registry.key import Key

logger = logging.getLogger(__name__)


class NativeRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset: str | None = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        return orjson.dumps(data)


class OpenAIRenderer(NativeRenderer):
    charset = None


class PlainNegotiation(BaseContentNegotiation):
    """The view's own parser and renderer, whatever the client says."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        return None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class WireView(APIView):
    """One endpoint that does not stream."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    renderer_classes = (NativeRenderer,)
    content_negotiation_class = PlainNegotiation

    operation: Operation
    dialect: DialectName
    """The operation's, or Anthropic's where a shared one is asked for by its clients."""
    request_id: str
    key: Key | None
    """Whose bounds hold, if any; the gate has judged it."""
    log: RequestLog
    upload: Any
    """Where the operation takes a file: `path`, `sha256`, `size_bytes` of what arrived (npuproxy/upload.py)."""

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Not DRF's Allow and Vary, which would speak of methods and formats that the gate does not know."""
        return {}

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        scope = request.scope
        self.operation = scope["npuproxy.resolved"].operation
        self.upload = scope.get("npuproxy.upload")
        self.key = scope.get("npuproxy.key")
        self._encoding = encoded_body.encoding_of(scope["headers"])
        self.dialect = scope["npuproxy.dialect"]
        self.request_id = scope["npuproxy.request_id"]
        self.log = RequestLog(self.request_id, request.method, request.path, self.operation, self.key)
        return super().initialize_request(request, *args, **kwargs)

    def body_of(self, request: Request) -> bytes:
        """The request's body, decoded where it came encoded. Raises BadRequest and BodyTooLarge."""
        body: bytes = request.body
        return encoded_body.plain(body, self._encoding) if self._encoding else body

    def handle_exception(self, exc: Exception) -> Response:
        failure = errors.of(exc, self.operation)
        if not errors.is_expected(exc):
            logger.exception("%s failed", self.operation.name)
        self.log.close(failure.status, failure.logged)
        envelope = errors.envelope(
            self.dialect, failure.status, failure.message, failure.code, self.request_id
        )
        return Response(orjson.Fragment(envelope), failure.status, headers=failure.headers, exception=True)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)
        self.log.close(answer.status_code)
        return answer
