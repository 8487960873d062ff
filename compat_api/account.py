"""What Ollama's clients ask of its cloud: there is none here, and each question is answered so."""

from __future__ import annotations

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from compat_api.wire_view import WireView
from inference.errors import NotAllowed
from registry import known

MOST_RECOMMENDED: Final = 8
_NO_SEARCH: Final = "ollama cloud is disabled: web search is unavailable"
_NO_FETCH: Final = "ollama cloud is disabled: web fetch is unavailable"


class StatusView(WireView):
    def get(self, request: Request) -> Response:
        return Response({"cloud": {"disabled": True, "source": "config"}})


class MeView(WireView):
    """Nobody is signed in, and there is nowhere to sign in."""

    def post(self, request: Request) -> Response:
        return Response({"error": "unauthorized"}, 401)


class SignOutView(WireView):
    def post(self, request: Request) -> Response:
        return Response(None)

    def delete(self, request: Request, id: str) -> Response:
        return Response(None)


class RecommendationsView(WireView):
    """Models of the catalogue that answer chats and fit this machine, those that are here already left out."""

    def get(self, request: Request) -> Response:
        fitting = [
            model
            for model in known.known()
            if model.entry.kind == "chat"
            and not model.installed
            and any(placed.verdict.level == "fits" for placed in model.placements.values())
        ]
        return Response({"recommendations": [_shown(model) for model in fitting[:MOST_RECOMMENDED]]})


class WebSearchView(WireView):
    def post(self, request: Request) -> Response:
        raise NotAllowed(_NO_SEARCH)


class WebFetchView(WireView):
    def post(self, request: Request) -> Response:
        raise NotAllowed(_NO_FETCH)


def _shown(model: known.Known) -> dict[str, object]:
    entry = model.entry
    return {
        "model": entry.name,
        "description": f"{entry.parameters} parameters, {entry.licence}",
        "context_length": entry.context,
    }
