"""Error -> HTTP status, words and envelope. The only place that decides a status (api-contract 1.8 and 8)."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import orjson
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError

from compat_api.refusals import BodyTooLarge, ThreadNotFound
from compat_api.urls import Operation
from inference import errors as inference_errors
from registry import hub_errors, names

Headers = list[tuple[bytes, bytes]]

CLIENT_GONE = 499
"""Never sent; it is the status of a log line whose client left."""

_INTERNAL = "internal server error"

_LONGEST_WORDS = 4_000
_TOO_LARGE = "request body too large"

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (inference_errors.BadRequest, 400),
    (inference_errors.NotAllowed, 403),
    (inference_errors.RequestCancelled, 403),  # a 409 or 5xx would be sent again by clients
    (inference_errors.ModelNotFound, 404),
    (ThreadNotFound, 404),
    (BodyTooLarge, 413),
    (inference_errors.Unavailable, 503),
    (inference_errors.DeadlineExceeded, 504),
    (inference_errors.InferenceTimeout, 504),
    (inference_errors.RequestLoop, 508),
    (hub_errors.RateLimited, 429),
    (hub_errors.RepositoryNotFound, 404),
    (hub_errors.Gated, 403),
    (hub_errors.NoModelFiles, 400),
    (hub_errors.TooLarge, 400),
    (hub_errors.UnsafeName, 400),
    (hub_errors.DiskFull, 507),
    (hub_errors.HubError, 502),
    (inference_errors.InferenceError, 500),
    (RequestDataTooBig, 413),
    (DatabaseError, 503),
)

_DATABASE_AWAY = "the database is busy or away, please try again"

_TRY_PULLING = 'model "{name}" not found, try pulling it first'
_NOT_FOUND_WORDS = {
    "embed": _TRY_PULLING,
    "embeddings": _TRY_PULLING,
    "openai.embeddings": _TRY_PULLING,
    "show": "model '{full}' not found",
    "copy": 'model "{name}" not found',
}
_OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

_THREAD_NOT_FOUND = "thread_not_found"
_TOO_LONG = "context_length_exceeded"


class Failure(NamedTuple):
    """What a client is told. `headers` are to be sent with the status; a stream that has begun cannot."""

    status: int
    message: str
    code: str | None
    headers: dict[str, str]
    loggable: str | None = None
    """Instead of `message`, where that repeats what the client sent: for the log and the row of the request."""

    @property
    def logged(self) -> str:
        return self.message if self.loggable is None else self.loggable


def of(error: Exception, operation: Operation | None = None) -> Failure:
    """The failure that `error` becomes; what we did not raise on purpose is a 500 without details."""
    if isinstance(error, inference_errors.RemoteTooLong):
        return Failure(400, _brief(_too_long_there(error, operation)), _TOO_LONG, {})
    if isinstance(error, inference_errors.RemoteFailed):
        return Failure(error.status, _brief(str(error)), _code(error), _headers(error))
    for kind, status in _STATUS:
        if isinstance(error, kind):
            words = _brief(_words(error, operation))
            return Failure(status, words, _code(error), _headers(error), _loggable(error, words))
    return Failure(500, _INTERNAL, None, {})


def _brief(words: str) -> str:
    """Some repeat what the client sent, however long that was."""
    if len(words) <= _LONGEST_WORDS:
        return words
    return f"{words[: _LONGEST_WORDS // 2]} … {words[-_LONGEST_WORDS // 4 :]}"


def _loggable(error: Exception, words: str) -> str | None:
    """Without what is quoted, for that may be of the request's text; fields keep their names."""
    if isinstance(error, inference_errors.InvalidGrammar):
        return "the JSON schema cannot be used"  # its words name the schema's own properties
    if type(error) is not inference_errors.BadRequest:
        return None
    named = {error.field, *error.field.split(".")} | _FIELDS
    kept = _QUOTED.sub(lambda span: f"\0{span[2]}\1" if span[2] in named else span[0], words)
    bare = _SPANS.sub(r"\1…\1", kept)
    return bare.replace("\0", '"').replace("\1", '"')


_FIELDS = frozenset(
    ("model", "messages", "prompt", "input", "format", "options", "tools", "stream", "schema")
)
_QUOTED = re.compile(r"""(["'])([\w.]{1,60})\1""")
_SPANS = re.compile(r"""(["'`]).*\1""", re.DOTALL)
"""From the first quote to the last one: a text may have quotes of its own."""


def is_expected(error: Exception) -> bool:
    """False for what deserves a stack trace in the log."""
    return isinstance(error, inference_errors.InferenceError | RequestDataTooBig)


def _words(error: Exception, operation: Operation | None) -> str:
    if isinstance(error, DatabaseError):
        return _DATABASE_AWAY
    if isinstance(error, RequestDataTooBig):
        return _TOO_LARGE  # Django's words speak of its settings
    if operation is None:
        return str(error)
    missing = error.name if type(error) is inference_errors.ModelNotFound else ""
    if missing and operation.name in _NOT_FOUND_WORDS:
        full = names.parse(missing).display if missing.strip() else missing
        return _NOT_FOUND_WORDS[operation.name].format(name=missing, full=full)
    if isinstance(error, inference_errors.ContextLengthExceeded):
        return _too_long(error, operation)
    return str(error)


def _too_long_there(error: inference_errors.RemoteTooLong, operation: Operation | None) -> str:
    """In the words of the caller's API, whatever API that server speaks."""
    here = inference_errors.ContextLengthExceeded(error.prompt_tokens, error.limit)
    return f"{_words(here, operation)} (said by {error.backend})"


def _too_long(error: inference_errors.ContextLengthExceeded, operation: Operation) -> str:
    """In the words that clients look for: Claude Code compacts on Anthropic's, and reads both numbers out of them."""
    if operation.dialect == "ollama":
        return str(error)
    if operation.dialect == "anthropic":
        counted = " (counted so far)" if error.at_least else ""
        each = f"; {error.takes}" if error.takes else ""
        return f"prompt is too long: {error.prompt_tokens} tokens > {error.limit} maximum{counted}{each}"
    least = "at least " if error.at_least else ""
    return (
        f"This model's maximum context length is {error.limit} tokens. However, your messages resulted "
        f"in {least}{error.prompt_tokens} tokens. Please reduce the length of the messages."
        + (f" ({error.takes})" if error.takes else "")
    )


def _code(error: Exception) -> str | None:
    if isinstance(error, ThreadNotFound):
        return _THREAD_NOT_FOUND
    if isinstance(error, inference_errors.RequestCancelled):
        return "request_cancelled"
    return _TOO_LONG if isinstance(error, inference_errors.ContextLengthExceeded) else None


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, inference_errors.Unavailable | hub_errors.RateLimited):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, inference_errors.RemoteFailed) and error.retry_after_s is not None:
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, DatabaseError):
        return {"Retry-After": "2"}
    if isinstance(error, inference_errors.DeadlineExceeded):
        # OpenAI's SDKs would retry the 504 twice, long past the deadline
        return {"x-should-retry": "false"}
    return {}


def envelope(
    dialect: str, status: int, message: str, code: str | None = None, request_id: str | None = None
) -> bytes:
    """The JSON body; also the payload of an error inside a stream."""
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        error: dict[str, object] = {"type": kind, "message": message}
        if code == _THREAD_NOT_FOUND:  # the other codes are OpenAI's
            error["details"] = {"error_code": code}
        return orjson.dumps({"type": "error", "error": error, "request_id": request_id})
    if dialect == "openai":
        kind = _OPENAI_TYPES.get(status, "api_error")
        return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
    return orjson.dumps({"error": message})


def render(
    dialect: str,
    status: int,
    message: str,
    *,
    code: str | None = None,
    request_id: str | None = None,
    head: bool = False,
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error in the dialect's envelope."""
    body = envelope(dialect, status, message, code, request_id)
    content_type = b"application/json; charset=utf-8" if dialect == "ollama" else b"application/json"
    return status, _body_headers(content_type, body), b"" if head else body


def unrouted(
    dialect: str, allowed: tuple[str, ...] = (), *, request_id: str | None = None, head: bool = False
) -> tuple[int, Headers, bytes]:
    """The answer to an unknown path, or to a known one without that method; Ollama's is plain text."""
    status, text = (405, "405 method not allowed") if allowed else (404, "404 page not found")
    extra = [(b"allow", ", ".join(allowed).encode())] if allowed else []
    if dialect != "ollama":
        status, headers, body = render(dialect, status, text, request_id=request_id, head=head)
        return status, headers + extra, body
    body = text.encode()
    return status, _body_headers(b"text/plain", body) + extra, b"" if head else body


def _body_headers(content_type: bytes, body: bytes) -> Headers:
    return [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
