"""Requests that mean harm, for every operation of the table, a client that sends them, and what may come back."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from hostile_bodies import ENCODINGS, SHAPES, a_body
from hostile_values import texts

from compat_api.urls import OPERATIONS, Operation

WAIT_S = 30.0
BARE = frozenset(
    {
        *(
            "heartbeat",
            "version",
            "openapi",
            "tags",
            "ps",
            "models.known",
            "search",
            "recommendations",
            "blob",
        ),
        *("thermal", "efficiency", "metrics", "backends"),
        *("healthz", "liveness", "readyz", "readiness", "health", "health.devices"),
        *("cloud.status", "cloud.me", "cloud.signout", "cloud.keys", "cloud.web_search", "cloud.web_fetch"),
        *("openai.models", "openai.model", "stream.ws"),
    }
)
"""Operations whose body is not looked at, or is no JSON."""


class Hostile(NamedTuple):
    operation: Operation
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


_IDS = (
    *(
        "demo",
        "demo:latest",
        "nope",
        "a/b",
        "%00",
        "%ff",
        "%ed%a0%80",
        "a%2fb",
        "..",
        "%2e%2e%2f",
        "x" * 3000,
        "sha256:x",
    ),
    *(
        "sha256:" + "0" * 64,
        "sha256-" + "f" * 64,
        "ü",
        " ",
        "a;b",
        "a?b=c",
        "{id}",
        "%",
        "%zz",
        "a%0d%0ab",
        "🏳️‍🌈",
    ),
)
_QUERIES = (
    "",
    "",
    "",
    "?beta=true",
    "?format=xml",
    "?format=api",
    "?a[]=1&a=2",
    "?%ff=%00",
    "?" + "a=b&" * 40,
    "?=&&",
)
_SEARCHES = (
    "?q=x",
    "?q=&limit=0",
    "?limit=1e3",
    "?q=%ff%00",
    "?sort=x",
    "?type=",
    "?q=" + "a" * 3000,
    "?limit=%D9%A3",
    "?q=a&q=b",
)
_HEADERS: dict[str, tuple[str, ...]] = {
    "X-NPU-Proxy-Device": ("", "CPU", "AUTO", "TPU", "GPU.999", "npu", "CPU\tCPU", "ü", "x" * 2000),
    "X-Target-Backend": ("CPU", "NPU", "", "cloud", "GPU.1", "'; --"),
    "X-Target-Strict": ("true", "0", "so", ""),
    "X-Cache-Enabled": ("false", "true", "2", ""),
    "X-Priority": ("high", "CRITICAL", "", "9", "best-effort"),
    "X-Deadline-Ms": ("30000", "0", "-1", "1e3", "NaN", "9" * 400, "", "\u00b2", "5.5"),
    "X-Max-Latency-Ms": ("5", "0", "inf", "", "9" * 40),
    "X-Max-Power-Watts": ("5.5", "-1", "x"),
    "X-Latency-Critical": ("true", "maybe"),
    "X-Power-Efficient": ("off", "3"),
    "X-Remote-Allowed": ("no", "\u00e9"),
    "X-Media-Type": ("text", "TEXT", "smell", ""),
    "X-Request-ID": ("a", "a b", "\u00ff", "x" * 500, "${jndi:x}", ""),
    "X-Hub-Authorization": ("Bearer hf_x", "Bearer ", "Basic x", "Bearer \u00ff"),
    "Content-Type": (
        "application/xml",
        "multipart/form-data; boundary=x",
        "text/plain; charset=utf-16",
        "",
        ";;=",
    ),
    "Accept": ("text/html", "image/*;q=x", ""),
    "Accept-Encoding": ("br;q=1, *;q=0", "gzip"),
    "anthropic-version": ("2023-06-01", "", "x"),
    "User-Agent": ("GitHubCopilotChat/1.0", "", "\u00ff" * 40),
    "Authorization": ("Bearer ollama", "Bearer", "Basic \u00ff", "Negotiate x"),
    "Range": ("bytes=0-5", "bytes=9-1"),
    "If-None-Match": ("*",),
    "Cookie": ("a=b; sessionid=x; csrftoken=\u00ff", "=;="),
    "X-HTTP-Method-Override": ("DELETE",),
    "Origin": ("null", "http://localhost", "app://x"),
}


def a_request(random: Random, operation: Operation) -> Hostile:
    headers = _headers(random)
    body = b""
    if operation.name in SHAPES:
        body = a_body(random, operation.name)
    elif random.random() < 0.5:
        body = texts(random).encode("utf-8", "surrogatepass")
    if random.random() < 0.06:
        encoding = random.choice(list(ENCODINGS))
        headers["Content-Encoding"] = encoding
        body = body if random.random() < 0.2 else ENCODINGS[encoding](body)
    target = _target(random, operation)
    return Hostile(operation, random.choice(operation.methods), target, headers, body)


def _headers(random: Random) -> dict[str, str]:
    if random.random() < 0.6:
        return {}
    names = random.sample(list(_HEADERS), random.randint(1, 3))
    return {name: random.choice(_HEADERS[name]) for name in names}


def _target(random: Random, operation: Operation) -> str:
    path = operation.path.replace("{id}", quote(random.choice(_IDS), safe="%/:;?=."))
    if operation.name == "search":
        return path + random.choice(_SEARCHES)
    return path + random.choice(_QUERIES)


def traffic(seed: int, count: int) -> Iterator[Hostile]:
    """The same for the same seed; every operation comes as often as any other."""
    random = Random(seed)
    for index in range(count):
        yield a_request(random, OPERATIONS[(index + seed) % len(OPERATIONS)])


class Client:
    """One connection, kept open as long as the server does; no answer within WAIT_S is an error."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)

    def send(self, request: Hostile) -> Answer:
        fields = {name: value.encode("latin-1") for name, value in request.headers.items()}
        length = {"Content-Length": str(len(request.body)).encode()}
        self._connection.request(request.method, request.target, request.body, {**fields, **length})
        with self._connection.getresponse() as answer:
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())

    def close(self) -> None:
        self._connection.close()


# --- What may come back -------------------------------------------------------------------------------------

_FINE = frozenset({200, 201, 204, 400, 401, 403, 404, 413, 503})
_ALSO: dict[str, frozenset[int]] = {
    "pull": frozenset({500, 502}),
    "create": frozenset({500, 502}),
    "search": frozenset({502}),
    "stream.ws": frozenset({426}),
}
"""What a hub without the model makes of a pull: Ollama's command line knows it as a 500 with these words.

DELETE /api/pull ends the pulls of others."""
_HUB_WORDS = re.compile(
    "pull model manifest|hub|repository|revision|the pull of .* was cancelled", re.IGNORECASE
)
_SECRETS = (b"internal server error", b"Traceback", b"/tmp/")


def fault_of(request: Hostile, answer: Answer) -> str:
    """What is wrong with the answer; '' for nothing."""
    also = _ALSO.get(request.operation.name, frozenset())
    if answer.status == 504 and "X-Deadline-Ms" not in request.headers:
        return "a deadline nobody set"
    if answer.status not in _FINE | also | {504}:
        return f"status {answer.status}"
    if answer.status >= 500 and answer.status in also and not _HUB_WORDS.search(answer.body.decode()):
        return "a failure in other words than the hub's"
    if found := [secret for secret in _SECRETS if secret in answer.body]:
        return f"the answer has {found[0]!r} in it"
    if not answer.headers.get("x-request-id"):
        return "no request id"
    if answer.status < 400:
        return _fault_of_success(answer)
    return "" if request.method == "HEAD" else _fault_of_envelope(request, answer)


def _fault_of_envelope(request: Hostile, answer: Answer) -> str:
    kind, body = answer.headers.get("content-type", ""), answer.body
    if answer.status == 403 and not body:
        return ""  # Host and Origin
    if kind == "text/plain" and body == b"404 page not found":
        return "" if request.operation.dialect == "ollama" else "plain text"
    native = request.operation.dialect == "ollama"
    if kind != ("application/json; charset=utf-8" if native else "application/json"):
        return f"an error as {kind!r}"
    try:
        whole = json.loads(body)
    except ValueError:
        return "an error that is no JSON"
    to_anthropic = request.operation.shared and "anthropic-version" in request.headers
    dialect = "anthropic" if to_anthropic else request.operation.dialect
    return "" if _is_envelope(dialect, whole) else "not the envelope of the dialect"


def _is_envelope(dialect: str, whole: Any) -> bool:
    match dialect, whole:
        case "ollama", {"error": str(words)}:
            return bool(words) and len(whole) == 1
        case "openai", {"error": {"message": str(), "type": str(), "param": _, "code": _}}:
            return True
        case "anthropic", {"type": "error", "error": {"type": str(), "message": str()}, "request_id": str()}:
            return True
    return False


def _fault_of_success(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    try:
        if kind == "application/json" and answer.body:
            json.loads(answer.body)
        elif kind == "application/x-ndjson":
            lines = answer.body.split(b"\n")
            if lines.pop() or not all(isinstance(json.loads(line), dict) for line in lines):
                return "lines that are no objects"
        elif kind == "text/event-stream":
            return _fault_of_events(answer.body.decode())
    except ValueError as error:
        return f"an answer of {kind} that is none: {error}"
    return ""


def _fault_of_events(body: str) -> str:
    if not body.endswith("\n\n"):
        return "a stream that was cut"
    for block in body[:-2].split("\n\n"):
        *names, data = block.split("\n")
        if not data.startswith("data: ") or not all(name.startswith("event: ") for name in names):
            return f"no event: {block[:100]!r}"
        if data != "data: [DONE]":
            json.loads(data[len("data: ") :])
    return ""
