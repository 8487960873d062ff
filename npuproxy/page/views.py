"""The pages as they first appear: whole without a script, and what answers at `/`."""

from __future__ import annotations

import re
import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from compat_api.catalogue import HeartbeatView
from compat_api.urls import OPERATIONS
from inference import engine
from npuproxy import banner
from npuproxy.page import publisher
from npuproxy.page.picture import Painter
from npuproxy.page.policy import guarded
from npuproxy.page.sign_in import Visitor, to_sign_in, visitor
from npuproxy.page.words import clock

_heartbeat = HeartbeatView.as_view()


def root(request: HttpRequest) -> HttpResponseBase:
    """A page for browsers, a table of contents for who wants JSON and nothing else, Ollama's word for all others."""
    wanted = accepted(request.headers.get("Accept", ""))
    answer: HttpResponseBase
    best = max(wanted.values(), default=0.0)
    if wanted.get("text/html", 0.0) == best > 0:
        answer = status(request)
    elif {name for name, weight in wanted.items() if weight} - {"text/html"} == {"application/json"}:
        answer = contents(request)
    else:
        answer = _heartbeat(request)
    answer["Vary"] = "Accept"
    return answer


def accepted(header: str) -> dict[str, float]:
    """Types of an Accept header with their weights; 0 for what is not wanted, 1 where none can be read."""
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        if name:
            found[name] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 1.0
    return found


def contents(request: HttpRequest) -> HttpResponse:
    endpoints = [
        {"path": operation.path, "methods": list(operation.methods), "name": operation.name}
        for operation in OPERATIONS
    ]
    return JsonResponse({"name": "npuproxy", "version": settings.VERSION, "endpoints": endpoints})


def status(request: HttpRequest) -> HttpResponse:
    if (seen := visitor(request)) is None:
        return to_sign_in(request)
    shown = Painter(publisher.current().history).picture().sections
    sections = {
        name: [{"key": key, **row} for key, row in section.items()] for name, section in shown.items()
    }
    whole = {**sections, "server": sections["server"][0], "as_of": clock(time.time())}
    return _page(request, seen, "status.html", whole)


def playground(request: HttpRequest) -> HttpResponse:
    if (seen := visitor(request)) is None:
        return to_sign_in(request)
    there = [state for state in engine.current().snapshot().devices if state.available]
    places = {
        "devices": [state.id for state in there if state.local],
        "servers": [state.id for state in there if not state.local],
    }
    return _page(request, seen, "playground.html", places)


def energy(request: HttpRequest) -> HttpResponse:
    """What a request that has ended has cost, by its id: a stream's headers left before that was known."""
    if visitor(request) is None:
        return _refused(401, "sign in again")
    wanted = request.GET.get("id", "")
    records = engine.current().snapshot().requests
    record = next((one for one in records if one.id == wanted), None)
    if record is None:
        return _refused(404, "no request of that id has ended lately")
    answer = JsonResponse({"energy_j": record.energy_j, "energy_source": record.energy_source})
    answer["Cache-Control"] = "no-store"
    return answer


def _refused(status: int, words: str) -> HttpResponse:
    return JsonResponse({"error": words}, status=status)


def _page(request: HttpRequest, seen: Visitor, template: str, context: dict[str, Any]) -> HttpResponse:
    address = f"{request.scheme}://{request.get_host()}"
    common = {"version": settings.VERSION, "address": address, "curl": banner.curl(address), "visitor": seen}
    return guarded(render(request, template, {**common, **context}))
