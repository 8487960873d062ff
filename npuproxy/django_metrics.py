"""django-prometheus' inner middleware, but for methods that nobody knows."""

from __future__ import annotations

from django.http import HttpRequest
from django_prometheus.middleware import PrometheusAfterMiddleware


class After(PrometheusAfterMiddleware):  # type: ignore[misc]  # django-prometheus ships no types
    """Inside all others."""

    def process_request(self, request: HttpRequest) -> None:
        """Not for a method that nobody knows: its name would become a label."""
        if self._method(request) == request.method:
            super().process_request(request)
