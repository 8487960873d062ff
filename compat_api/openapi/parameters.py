"""What requests and answers have besides their bodies: paths, queries, headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from compat_api.urls import Operation

Json = dict[str, Any]

_FLAG: Json = {"type": "string", "enum": ["true", "false", "1", "0", "yes", "no", "on", "off"]}
_AMOUNT: Json = {"type": "number", "exclusiveMinimum": 0}
_DEVICE: Json = {"type": "string", "examples": ["NPU", "GPU", "GPU.1", "CPU", "AUTO"]}

WISHES: Final[Mapping[str, tuple[Json, str]]] = {
    "X-NPU-Proxy-Device": (_DEVICE, "the device, or the other server, that is to answer"),
    "X-Target-Backend": (_DEVICE, "the same, and it wins"),
    "X-Target-Strict": (_FLAG, "true: a 503 instead of another device than the one that was named"),
    "X-Latency-Critical": (_FLAG, "true: placed by time alone"),
    "X-Power-Efficient": (_FLAG, "true: placed by power"),
    "X-Max-Latency-Ms": (_AMOUNT, "milliseconds that an answer may take to begin"),
    "X-Max-Power-Watts": (_AMOUNT, "watts that the device may draw"),
    "X-Remote-Allowed": (_FLAG, "false: no other server may see it"),
    "X-Cache-Enabled": (_FLAG, "false: the cache of embeddings is neither read nor written"),
    "X-Media-Type": (
        {"type": "string", "enum": ["text", "code", "image", "audio", "video", "realtime", "auto"]},
        "what it is for; a priority where none is given",
    ),
    "X-Priority": (
        {"type": "string", "enum": ["best-effort", "low", "normal", "high", "critical", "realtime"]},
        "how soon it begins where others wait",
    ),
    "X-Deadline-Ms": (
        {"type": "integer", "minimum": 1, "maximum": 86_400_000},
        "milliseconds in which it must have begun, else a 504",
    ),
}
"""By header: the schema of its value, and what it means. Read by compat_api.headers."""

FACTS: Final[Mapping[str, str]] = {
    "X-NPU-Proxy-Device": "the device that ran it, as the runtime says",
    "X-NPU-Proxy-Requested-Device": "what was asked for",
    "X-NPU-Proxy-Routed-Device": "what the router chose",
    "X-NPU-Proxy-Execution-Device": "the same as X-NPU-Proxy-Device",
    "X-NPU-Proxy-Route-Reason": "why, in a word",
    "X-NPU-Proxy-Token-Count": "tokens of the prompt, where its tokenizer is known here",
    "X-NPU-Proxy-Model": "the digest of the model",
    "X-NPU-Proxy-Fallback": "true where another device than the first answered",
    "X-NPU-Proxy-Fallback-Reason": "why it did",
    "X-NPU-Proxy-Queue-Ms": "milliseconds it waited for its device",
    "X-NPU-Proxy-Truncated-Messages": "messages that were left out",
    "X-NPU-Proxy-Truncated-Tokens": "tokens of texts to embed that were left out",
    "X-NPU-Proxy-Cache-Hits": "texts whose vectors were in the cache",
    "X-NPU-Proxy-Energy-J": "joules, of whole answers",
    "X-NPU-Proxy-Energy-Source": "measured, estimated or unknown",
    "X-Backend-Used": "the same as X-NPU-Proxy-Routed-Device",
    "X-Routing-Reason": "the same as X-NPU-Proxy-Route-Reason, with hyphens",
    "X-Estimated-Latency-Ms": "milliseconds that were expected",
    "X-Estimated-Power-W": "watts that were expected",
    "X-Estimated-Power-Watts": "the same",
    "X-Alternatives": "what else could have run it",
}
"""Headers of every generation and embedding that begins; those without a fact are absent."""

ALWAYS: Final[Mapping[str, str]] = {
    "X-Request-ID": "the request's own, or a new one",
    "X-NPU-Proxy-Version": "the version of this server",
}

_IDS: Final = {
    "openai.model": "a model's id, slashes included, raw or as %2F",
    "blob": "sha256: and 64 hexadecimal digits",
    "cloud.keys": "any",
}
_REQUEST_ID: Final[Json] = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "1 to 128 letters, digits and ._:/=+-; the answer and the logs have it",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/=+-]{1,128}$"},
}
_VERSION: Final[Json] = {
    "name": "anthropic-version",
    "in": "header",
    "description": "with it, whatever it says, the answer has Anthropic's shape",
    "schema": {"type": "string"},
}


def query(name: str, schema: Json, says: str) -> Json:
    return {"name": name, "in": "query", "description": says, "schema": schema}


def components() -> Json:
    """Those that many endpoints share."""
    wishes = {
        name: {"name": name, "in": "header", "description": says, "schema": schema}
        for name, (schema, says) in WISHES.items()
    }
    return {"X-Request-ID": _REQUEST_ID, **wishes}


def headers() -> Json:
    """Components of answers' headers."""
    return {
        name: {"description": says, "schema": {"type": "string"}}
        for name, says in {**ALWAYS, **FACTS}.items()
    }


def of(operation: Operation, placed: bool, queries: tuple[Json, ...]) -> list[Json]:
    """`placed`: it runs on a device, so the wishes about one count."""
    shown: list[Json] = []
    if operation.path.endswith("{id}"):
        says = _IDS[operation.name]
        shown.append(
            {"name": "id", "in": "path", "required": True, "description": says, "schema": {"type": "string"}}
        )
    shown += queries
    if operation.shared:
        shown.append(_VERSION)
    named = ("X-Request-ID", *(WISHES if placed else ()))
    return [*shown, *({"$ref": f"#/components/parameters/{name}"} for name in named)]
