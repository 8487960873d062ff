"""What could be installed: the catalogue of short names, and a search of the hub. DRF views of the native API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from rest_framework.request import Request
from rest_framework.response import Response

from compat_api.timestamps import rfc3339
from compat_api.wire_view import WireView
from inference.errors import BadRequest
from registry import hub_search, known
from registry.hub import Sort
from registry.hub_search import LONGEST_QUERY, MOST_RESULTS, Hit, Wanted

_SORTS: Final[dict[str, Sort]] = {
    "downloads": "downloads",
    "popular": "downloads",
    "likes": "likes",
    "modified": "modified",
    "newest": "modified",
    "created": "created",
    "trending": "trending",
}
"""As clients write them; `popular` and `newest` are NPU Proxy's."""
_TYPES: Final[dict[str, Wanted]] = {
    "all": "",
    "chat": "chat",
    "llm": "chat",
    "vision": "vision",
    "embedding": "embedding",
}

T = TypeVar("T")


class KnownModelsView(WireView):
    """GET /api/models/known: every short name, what it would fetch, and how it suits this machine's devices."""

    def get(self, request: Request) -> Response:
        return Response({"models": [known.facts(model) for model in known.known()]})


class SearchView(WireView):
    """GET /api/search?q=…&limit=…&sort=…&type=…: repositories of the hub with OpenVINO files."""

    def get(self, request: Request) -> Response:
        asked = request.query_params
        query = asked.get("q", "").strip()
        if len(query) > LONGEST_QUERY:
            raise BadRequest(f"q has {len(query)} characters, at most {LONGEST_QUERY} are searched for", "q")
        hits = hub_search.search(
            query,
            limit=_limit(asked.get("limit", "20")),
            sort=_choice("sort", asked.get("sort", "downloads"), _SORTS),
            kind=_choice("type", asked.get("type", "all"), _TYPES),
        )
        sources = known.installed_sources()
        return Response(
            {"models": [_shown(hit, sources) for hit in hits], "query": query, "total": len(hits)}
        )


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= MOST_RESULTS:
        raise BadRequest(f"limit is a whole number from 1 to {MOST_RESULTS}, not {text[:40]!r}", "limit")
    return limit


def _choice(field: str, text: str, choices: Mapping[str, T]) -> T:
    if text.lower() not in choices:
        raise BadRequest(f"{field} is one of {', '.join(choices)}, not {text[:40]!r}", field)
    return choices[text.lower()]


def _shown(hit: Hit, sources: Mapping[str, list[str]]) -> dict[str, Any]:
    found = hit.found
    author, _, name = found.repo.rpartition("/")
    installed = sources.get(found.repo.lower(), [])
    return {
        "id": found.repo,
        "name": name,
        "author": author,
        "type": hit.kind,
        "parameters": hit.parameters,
        "quantization": hit.quantization,
        "license": found.licence,
        "gated": found.gated,
        "downloads": found.downloads,
        "likes": found.likes,
        "last_modified": rfc3339(found.modified_at) if found.modified_at else "",
        "installed": bool(installed),
        "installed_as": list(installed),
    }
