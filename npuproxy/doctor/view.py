"""The examination as a page of the admin: the same findings, with a button for what can be mended."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from inference import engine
from npuproxy.doctor import examination

TAGS = {"ok": "good", "warning": "warn", "fault": "bad"}


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Looks anew each time, which takes some seconds; POST mends first.

    For who may change devices: it tells paths. Who may change users mends.
    """
    if not request.user.has_perm("registry.change_device"):
        raise PermissionDenied
    mends = request.user.has_perm("auth.change_user")
    if request.method == "POST" and not mends:
        raise PermissionDenied
    wishes = examination.Wishes(readings=engine.current().telemetry.readings())
    found = list(examination.findings(wishes))
    done: list[tuple[str, str]] = []
    if request.method == "POST":
        done = [(one.area, words) for one, words in examination.mended(found)]
        found = list(examination.findings(wishes))
    context = {
        **admin.site.each_context(request),
        "title": "Doctor",
        "rows": [(one, TAGS[one.level]) for one in found],
        "counts": examination.as_json(found)["counts"],
        "done": done,
        "mendable": mends and any(one.mend for one in found),
    }
    return render(request, "admin/doctor.html", context)


guarded_page = admin.site.admin_view(page)
