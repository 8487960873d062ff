"""What does not stream: models, what is loaded, the version. DRF views that answer as Ollama and OpenAI do."""

from __future__ import annotations

import orjson
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from compat_api import account, anthropic, found, key_bounds
from compat_api.backends import BackendsView
from compat_api.cancelling import CancelView
from compat_api.discovery import KnownModelsView, SearchView
from compat_api.efficiency import EfficiencyView
from compat_api.health import VIEWS as HEALTH
from compat_api.managing import BlobView, CancelPullView, CopyView, DeleteView
from compat_api.metrics_view import MetricsView
from compat_api.ollama import catalogue as ollama
from compat_api.openai import catalogue as openai
from compat_api.openapi.document import OpenApiView
from compat_api.thermal import ThermalView
from compat_api.wire_view import OpenAIRenderer, WireView
from inference import engine
from registry import store, vocabulary


class HeartbeatView(WireView):
    """Ollama's CLI asks this before every command."""

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse("Ollama is running", content_type="text/plain; charset=utf-8")


class VersionView(WireView):
    def get(self, request: Request) -> Response:
        return Response({"version": ollama.VERSION})


class TagsView(WireView):
    _tags = ollama.Tags()

    def get(self, request: Request) -> Response:
        models = store.all_models()
        others = found.elsewhere(self.key, request.headers.get("X-NPU-Proxy-Via"))
        if others or (self.key is not None and self.key.models):
            return Response(ollama.tags([*key_bounds.allowed(self.key, models), *others]))
        return Response(orjson.Fragment(self._tags.encoded(models)))


class ShowView(WireView):
    def post(self, request: Request) -> Response:
        asked = ollama.parse_show(self.body_of(request))
        self.log.model = asked.name
        model = found.info(asked.name)
        key_bounds.check_model(self.key, asked.name, model.spec)
        shown = ollama.show(model, asked, request.headers.get("User-Agent", ""))
        shown["model_info"] |= (
            vocabulary.read(model.spec.path) if asked.verbose and not model.backend else vocabulary.EMPTY
        )
        return Response(shown)


class PsView(WireView):
    def get(self, request: Request) -> Response:
        return Response(ollama.ps(engine.current().snapshot(), store.all_models()))


class OpenAIModelsView(WireView):
    renderer_classes = (OpenAIRenderer,)

    def get(self, request: Request) -> Response:
        known = key_bounds.allowed(self.key, store.all_models())
        known = [*known, *found.elsewhere(self.key, request.headers.get("X-NPU-Proxy-Via"))]
        if self.dialect == "anthropic":
            return Response(anthropic.models(known, anthropic.parse_page(request.query_params)))
        return Response(openai.models(known, engine.current().snapshot()))


class OpenAIModelView(WireView):
    renderer_classes = (OpenAIRenderer,)

    def get(self, request: Request, id: str) -> Response:
        self.log.model = id
        model = found.info(id)
        key_bounds.check_model(self.key, id, model.spec)
        if self.dialect == "anthropic":
            return Response(anthropic.model(model, id))
        return Response(openai.model(model, id, engine.current().snapshot()))


VIEWS: dict[str, type[WireView]] = {
    "heartbeat": HeartbeatView,
    "version": VersionView,
    "openapi": OpenApiView,
    "tags": TagsView,
    "show": ShowView,
    "ps": PsView,
    "models.known": KnownModelsView,
    "search": SearchView,
    "pull.cancel": CancelPullView,
    "copy": CopyView,
    "delete": DeleteView,
    "blob": BlobView,
    "requests.cancel": CancelView,
    "cloud.status": account.StatusView,
    "cloud.me": account.MeView,
    "cloud.signout": account.SignOutView,
    "cloud.keys": account.SignOutView,
    "cloud.web_search": account.WebSearchView,
    "cloud.web_fetch": account.WebFetchView,
    "recommendations": account.RecommendationsView,
    "backends": BackendsView,
    "thermal": ThermalView,
    "efficiency": EfficiencyView,
    "efficiency.choose": EfficiencyView,
    **HEALTH,
    "metrics": MetricsView,
    "openai.models": OpenAIModelsView,
    "openai.model": OpenAIModelView,
}
"""By operation name: exactly the operations of urls.py that do not stream."""
