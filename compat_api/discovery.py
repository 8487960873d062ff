"""What could be installed: the catalogue of short names, and a search of the hub. DRF views of the native API."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from compat_api.wire_view import WireView
from registry import known


class KnownModelsView(WireView):
    """GET /api/models/known: every short name, what it would fetch, and how it suits this machine's devices."""

    def get(self, request: Request) -> Response:
        return Response({"models": [known.facts(model) for model in known.known()]})
