"""Django's admin as ours: its names, and a policy for what a browser may run there."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse

from npuproxy.page.policy import ADMIN_POLICY


class Site(AdminSite):
    """Every answer of a view, the form to sign in too, has the policy."""

    site_header = site_title = "npuproxy"
    index_title = "What this server knows"
    site_url = "/status"

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return _with_policy(inner(request, *args, **kwargs))

        return guarded

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return _with_policy(super().login(request, extra_context))


def _with_policy(response: HttpResponse) -> HttpResponse:
    response["Content-Security-Policy"] = ADMIN_POLICY
    return response
