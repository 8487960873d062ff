"""GET /metrics for Prometheus: ours, Django's and the process's, as text or OpenMetrics, gzip where it is accepted."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from django.conf import settings
from django.http import HttpResponse
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from rest_framework.request import Request

from compat_api.wire_view import WireView
from inference import engine, metrics
from inference.gauges import Gauges
from inference.states import Snapshot


class _All(Collector):
    """`REGISTRY` is prometheus_client's: django-prometheus and the process are there."""

    def collect(self) -> Iterator[Metric]:
        yield from metrics.REGISTRY.collect()
        yield from REGISTRY.collect()


class MetricsView(WireView):
    def get(self, request: Request) -> HttpResponse:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(_All())
        headers = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(request.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        return HttpResponse(body, content_type=content_type, headers=headers)


def _snapshot() -> Snapshot | None:
    try:
        return engine.current().snapshot()
    except RuntimeError:
        return None


metrics.REGISTRY.register(Gauges(_snapshot, settings.VERSION))
