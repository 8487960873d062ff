"""What the document says of each endpoint beyond the one table: a sentence, the type of its body, the types of its
answers. The types of bodies are those that requests are decoded into.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from compat_api import cancelling, efficiency, explaining
from compat_api.anthropic import requests as anthropic
from compat_api.anthropic.catalogue import MOST_ON_A_PAGE
from compat_api.ollama import catalogue, create, pull
from compat_api.ollama import requests as ollama
from compat_api.openai import completions, response_requests, tokens
from compat_api.openai import requests as openai
from compat_api.openapi import health_answers as health
from compat_api.openapi import native_answers as native
from compat_api.openapi import wire_answers as wire
from compat_api.openapi.parameters import Json, query
from registry.hub_search import LONGEST_QUERY, MOST_RESULTS

TEXT: Final = "text/plain"
_TEXT: Json = {"type": "string"}


class Endpoint(Struct, frozen=True):
    """One operation. An `answer` of None has no body, one of `str` is a text, and several are a choice."""

    summary: str
    answer: Any = None
    body: type[Struct] | None = None
    needs: tuple[str, ...] = ()
    """Fields of the body without which it is refused."""
    streams: Any = None
    """Each object of an answer that is streamed."""
    query: tuple[Json, ...] = ()
    also: tuple[tuple[int, Any], ...] = ()
    """Further answers that are no errors of its dialect, by status."""
    status: int = 200


def _page(name: str, says: str, schema: Json = _TEXT) -> Json:
    return query(name, schema, f"with anthropic-version: {says}")


_PAGES = (
    _page("limit", "models of a page", {"type": "integer", "minimum": 1, "maximum": MOST_ON_A_PAGE}),
    _page("after_id", "the page after this model"),
    _page("before_id", "the page before this model"),
)
_SEARCHED = (
    query("q", {"type": "string", "maxLength": LONGEST_QUERY}, "words of the repository's name"),
    query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "default": 20}, "results"),
    query(
        "sort",
        {
            "type": "string",
            "enum": ["downloads", "popular", "likes", "modified", "newest", "created", "trending"],
        },
        "what comes first",
    ),
    query("type", {"type": "string", "enum": ["all", "chat", "llm", "vision", "embedding"]}, "kind of model"),
)
_NOT_SIGNED_IN = ((401, native.NativeError),)
_READY = Endpoint(
    "whether a request that comes now is answered", health.Readiness, also=((503, health.Readiness),)
)
_ALIVE = Endpoint("ok while the process turns", str)

ENDPOINTS: Final[dict[str, Endpoint]] = {
    "heartbeat": Endpoint("a word that says that the server runs; a page for browsers", str),
    "version": Endpoint("the Ollama version whose API this is", native.Version),
    "openapi": Endpoint("this document", dict[str, Any]),
    "tags": Endpoint("models, the newest first", native.Tags),
    "show": Endpoint("one model", native.Show, catalogue.ShowBody, ("model",)),
    "ps": Endpoint("loaded models, what stays longest first", native.LoadedModels),
    "models.known": Endpoint("the catalogue of short names", native.KnownModels),
    "search": Endpoint("repositories of the hub with OpenVINO files", native.Hits, query=_SEARCHED),
    "cloud.status": Endpoint("says that there is no cloud here", native.CloudStatus),
    "cloud.me": Endpoint("nobody is signed in: 401", None, also=_NOT_SIGNED_IN, status=401),
    "cloud.signout": Endpoint("changes nothing", Any),
    "cloud.keys": Endpoint("changes nothing", Any),
    "recommendations": Endpoint("chat models that fit this machine", native.Recommendations),
    "cloud.web_search": Endpoint("refused: there is no cloud here", None, status=403),
    "cloud.web_fetch": Endpoint("refused: there is no cloud here", None, status=403),
    "chat": Endpoint("messages to an answer", native.Chat, ollama.ChatBody, ("model",), native.Chat),
    "generate": Endpoint(
        "a prompt to an answer", native.Generated, ollama.GenerateBody, ("model",), native.Generated
    ),
    "embed": Endpoint("texts to vectors of length one", native.Embedded, ollama.EmbedBody, ("model",)),
    "embeddings": Endpoint(
        "a text to a vector, as older clients ask", native.Embedding, ollama.LegacyEmbedBody, ("model",)
    ),
    "pull": Endpoint("fetches a model", native.Progress, pull.PullBody, ("model",), native.Progress),
    "pull.cancel": Endpoint("ends a pull", native.Cancelled, pull.CancelPullBody, ("model",)),
    "push": Endpoint(
        "refused: models stay on this machine", native.Progress, create.NameBody, ("model",), native.Progress
    ),
    "create": Endpoint(
        "a model of another one, or of files", native.Progress, create.CreateBody, ("model",), native.Progress
    ),
    "copy": Endpoint("another name for a model", None, create.CopyBody, ("source", "destination")),
    "delete": Endpoint("removes a model", None, create.NameBody, ("model",)),
    "requests.cancel": Endpoint("ends requests under way", native.Cancelled, cancelling.CancelBody, ("id",)),
    "blob": Endpoint("asks for a file by its digest, or sends it", None, also=((201, None),)),
    "backends": Endpoint("devices and other servers", list[native.Backend]),
    "thermal": Endpoint("power, heat and load, each with unit, source and age", native.Thermal),
    "routes.explain": Endpoint(
        "where a request would run and why; nothing runs",
        native.Explained,
        explaining.ExplainBody,
        ("model",),
    ),
    "efficiency": Endpoint("the efficiency mode that counts, and why", native.Efficiency),
    "efficiency.choose": Endpoint(
        "chooses the mode", native.Efficiency, efficiency.EfficiencyBody, ("mode",)
    ),
    "healthz": _ALIVE,
    "liveness": _ALIVE,
    "readyz": _READY,
    "readiness": _READY,
    "health": Endpoint("the state of the server", health.Health),
    "health.devices": Endpoint("the state of each device", health.HealthDevices),
    "metrics": Endpoint("figures for Prometheus", str),
    "openai.models": Endpoint("models", (wire.OpenAIModels, wire.AnthropicModels), query=_PAGES),
    "openai.model": Endpoint("one model", (wire.OpenAIModel, wire.AnthropicModel)),
    "openai.chat": Endpoint(
        "messages to an answer", wire.ChatCompletion, openai.ChatBody, ("model",), wire.ChatChunk
    ),
    "openai.completions": Endpoint(
        "prompts to answers", wire.TextCompletion, completions.CompletionBody, ("model",), wire.TextCompletion
    ),
    "openai.responses": Endpoint(
        "items to an answer; nothing is stored",
        wire.Response,
        response_requests.ResponsesBody,
        ("model",),
        wire.NamedEvent,
    ),
    "openai.embeddings": Endpoint(
        "texts to vectors", wire.EmbeddingList, openai.EmbeddingsBody, ("model", "input")
    ),
    "openai.tokenize": Endpoint("texts to tokens", wire.Tokens, tokens.TokenizeBody, ("model",)),
    "openai.detokenize": Endpoint("tokens to a text", wire.Detokenized, tokens.DetokenizeBody, ("model",)),
    "stream.ws": Endpoint("a WebSocket for several requests at once", None, status=101),
    "anthropic.messages": Endpoint(
        "messages to an answer",
        wire.AnthropicMessage,
        anthropic.MessagesBody,
        ("model", "messages", "max_tokens"),
        wire.NamedEvent,
    ),
    "anthropic.count": Endpoint(
        "the exact tokens of a request", wire.TokenCount, anthropic.CountBody, ("model", "messages")
    ),
}
"""By operation name: exactly those of urls.py."""
