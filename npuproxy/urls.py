"""Django's share of the paths: the pages, and compat_api's operations that do not stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from django.contrib import admin
from django.contrib.staticfiles.views import serve as static_file
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, re_path
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from compat_api import errors
from compat_api.django_urls import urlpatterns as operations
from npuproxy.doctor import view as doctor
from npuproxy.page import sign_in, views

_OTHERS = ("admin/", "rest_framework/")
"""Files that change with Django alone; ours are asked for anew, so that a page never meets an older script."""

View = Callable[[HttpRequest], HttpResponse]


def read_only(view: View) -> View:
    """GET and HEAD alone. Before Django's CSRF check, whose page would speak of cookies to a wrong method."""

    def guarded(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        status, headers, body = errors.unrouted("ollama", ("GET", "HEAD"))
        return HttpResponse(
            body, status=status, headers={name.decode(): value.decode() for name, value in headers}
        )

    return csrf_exempt(guarded)


def static(request: HttpRequest, path: str) -> HttpResponseBase:
    """The page's and the admin's files, found where they lie: no build step, no collected copies."""
    response = static_file(request, path, insecure=True)
    if isinstance(
        response, FileResponse
    ):  # whole, as its iterator would keep a thread: the largest has 300 KB
        with closing(response):
            whole = HttpResponse(b"".join(response), headers=dict(response.items()))
        response = whole
    response["Cache-Control"] = "max-age=3600" if path.startswith(_OTHERS) else "no-cache"
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """An API's client gets its own envelope, a browser a page; nobody a stack trace."""
    scope = getattr(request, "scope", {})
    resolved = scope.get("npuproxy.resolved")
    if resolved is None or resolved.operation is None:
        return defaults.server_error(request)
    dialect, request_id = scope["npuproxy.dialect"], scope["npuproxy.request_id"]
    code, headers, body = errors.render(dialect, 500, "internal server error", request_id=request_id)
    return HttpResponse(body, status=code, headers={name.decode(): value.decode() for name, value in headers})


handler500 = server_error

urlpatterns = [
    path("", views.root, name="heartbeat"),
    *operations,
    path("status", read_only(views.status), name="status"),
    path("login", sign_in.SignIn.as_view()),
    path("login/key", read_only(sign_in.new_key)),
    path("logout", sign_in.sign_out),
    path("playground", read_only(views.playground), name="playground"),
    path("playground/energy", read_only(views.energy)),
    path("admin/doctor/", doctor.guarded_page, name="doctor"),
    path("admin/", admin.site.urls),
    re_path(r"^static/(?P<path>.+)$", static),
]
