"""The status page: one snapshot of the engine and the registry's rows, as HTML."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from inference import engine


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "status.html", {"snapshot": engine.current().snapshot()})


def live(request: HttpRequest) -> HttpResponse:
    return render(request, "status/_live.html", {"snapshot": engine.current().snapshot()})
