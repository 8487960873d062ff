"""`Why here?` in admin: where a request would run now, each candidate with its score in parts. Nothing runs by it."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from inference.errors import InferenceError
from inference.explanation import Considered, Explanation
from inference.types import ChatRequest, Message, Placement
from registry import store
from registry.admin.running import NoServer, engine
from registry.models import Profile

WAIT_S = 20.0
PERMISSION = "registry.view_profile"
TERMS = ("priority", "time", "power", "queue", "place", "heat", "quiet")


def address(request: HttpRequest, **wish: str) -> str:
    """Of the page, with these fields filled in; '' for who may not see it. For the pages of what it explains."""
    if not request.user.has_perm(PERMISSION):
        return ""
    return f"{reverse('admin:registry_profile_why')}?{urlencode({k: v for k, v in wish.items() if v})}"


class WhyForm(forms.Form):
    model = forms.CharField(max_length=400, widget=forms.TextInput(attrs={"size": 60, "list": "installed"}))
    prompt = forms.CharField(max_length=200_000, widget=forms.Textarea(attrs={"rows": 6, "cols": 80}))
    device = forms.CharField(
        max_length=64, required=False, help_text="X-Target-Backend: a device or another server"
    )
    hint = forms.ChoiceField(
        choices=[("", "none"), ("latency", "X-Latency-Critical"), ("power", "X-Power-Efficient")],
        required=False,
    )
    max_latency_ms = forms.FloatField(min_value=1, required=False, label="at most ms")
    max_watts = forms.FloatField(min_value=0.1, required=False, label="at most watts")


def why_page(request: HttpRequest) -> TemplateResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    form = WhyForm(request.POST or None, initial=request.GET.dict())
    shown: dict[str, Any] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            shown = _shown(_explained(form.cleaned_data))
        except (InferenceError, NoServer, TimeoutError) as error:
            form.add_error(None, str(error) or "the server has not answered in time")
    context = {
        **admin.site.each_context(request),
        "title": "Why here?",
        "opts": Profile._meta,
        "form": form,
        "shown": shown,
        "terms": TERMS,
        "installed": _models(),
    }
    return TemplateResponse(request, "admin/registry/why_here.html", context)


def _models() -> list[str]:
    """To choose from: what is installed, then what other servers have."""
    here = sorted(info.name for info in store.all_models() if info.spec.kind == "chat")
    server = engine()
    there = {offer.name for _, offer in server.remotes.offers()} if server is not None else set()
    return [*here, *sorted(there.difference(here))]


def _explained(wish: dict[str, Any]) -> Explanation:
    server = engine()
    if server is None or server.loop is None:
        raise NoServer
    there = server.remotes.find(wish["model"]) if store.peek(wish["model"]) is None else None
    spec = there or store.find_sync(wish["model"])
    placement = Placement(
        device=wish["device"], latency_critical=wish["hint"] == "latency", power_efficient=wish["hint"] == "power",
        max_latency_ms=wish["max_latency_ms"], max_watts=wish["max_watts"],
    )  # fmt: skip
    message = Message(role="user", content=wish["prompt"])
    asked = ChatRequest(model=wish["model"], messages=(message,), placement=placement)
    return asyncio.run_coroutine_threadsafe(server.explain(spec, asked), server.loop).result(WAIT_S)


def _shown(explained: Explanation) -> dict[str, Any]:
    return {
        "explained": explained,
        "tokens": _tokens(explained.prompt_tokens),
        "rule": "by score" if explained.by_score else f"by the chain {' → '.join(explained.chain)}",
        "rows": [_row(one, explained.winner) for one in explained.candidates],
    }


def _tokens(count: int | None) -> str:
    if count is None:
        return "prompt not counted, as only other servers have the model"
    return f"{count} prompt token{'' if count == 1 else 's'}"


def _row(one: Considered, winner: str) -> dict[str, Any]:
    over = one.exceeds
    origin = ("assumed", "measured")
    return {
        "device": one.device,
        "wins": one.device == winner,
        "score": "" if one.score is None else f"{one.score:.0f}",
        "terms": [f"{getattr(one.terms, term):+.0f}" if one.terms else "" for term in TERMS],
        "begins": "" if one.fault else f"{one.wait_s + one.load_s:.1f} s",
        "answer": "" if one.latency_s is None else f"{one.latency_s:.2f} s {origin[one.latency_measured]}",
        "watts": "" if one.watts is None else f"{one.watts:.1f} {origin[one.watts_measured]}",
        "fault": ": ".join(filter(None, [one.fault.replace("_", " "), one.fault_words]))
        or (f"over its limit: {over.limit}, {over.figures}" if over else ""),
    }
