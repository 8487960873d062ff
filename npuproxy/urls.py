"""Django's share of the paths: the pages, and compat_api's operations that do not stream."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.views import serve as static_file
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, re_path

from compat_api.django_urls import urlpatterns as operations
from npuproxy import status


def healthz(request: HttpRequest) -> HttpResponse:
    """Alive. Asks and loads nothing."""
    return HttpResponse("ok", content_type="text/plain")


def static(request: HttpRequest, path: str) -> HttpResponseBase:
    """The page's and the admin's files, found where they lie: no build step, no collected copies."""
    response = static_file(request, path, insecure=True)
    response["Cache-Control"] = "max-age=3600"
    return response


urlpatterns = [
    *operations,
    path("healthz", healthz),
    path("status", status.page, name="status"),
    path("status/live", status.live, name="status-live"),
    path("admin/", admin.site.urls),
    re_path(r"^static/(?P<path>.+)$", static),
]
