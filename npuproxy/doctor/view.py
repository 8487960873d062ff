"""The examination as a page of the admin: the same findings, with a button for what can be mended."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import user_passes_test
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from inference import engine
from npuproxy.doctor import examination

TAGS = {"ok": "good", "warning": "warn", "fault": "bad"}


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Looks anew each time, which takes some seconds; POST mends first. For superusers: it tells paths."""
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
        "mendable": any(one.mend for one in found),
    }
    return render(request, "admin/doctor.html", context)


superusers_page = admin.site.admin_view(user_passes_test(lambda user: user.is_superuser)(page))
