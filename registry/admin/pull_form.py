"""The page that pulls a model by its name: first what it would fetch and whom it suits, then the pull itself."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from inference.errors import InferenceError
from registry import aside, catalog, names, pull_plan, pulls, verdict
from registry.admin import cells
from registry.models import Model
from registry.pull_plan import Plan

PLAN_S: Final = 15.0
"""As long as the page waits for the hub."""
SHOWN_FILES: Final = 40

_TONES: Final[dict[str, cells.Tone]] = {"fits": "good", "may_exceed_memory": "warn", "not_suited": "bad"}


class PullForm(forms.Form):
    """As `pullmodel` is asked."""

    name = forms.CharField(
        max_length=names.MAX_LENGTH,
        help_text="a name of the catalogue (qwen3:4b), a repository (org/repo), or one at a revision (org/repo@main)",
        widget=forms.TextInput(
            attrs={"size": 60, "list": "catalogue", "autofocus": True, "spellcheck": "false"}
        ),
    )
    device = forms.ChoiceField(
        required=False,
        choices=[("", "any"), *((device, device) for device in verdict.DEVICES)],
        help_text="what it is meant for; an NPU gets a build of its own where there is one",
    )
    token = forms.CharField(
        required=False,
        max_length=500,
        help_text="for a gated repository; HF_TOKEN is used without one. Kept sealed until the pull ends",
        widget=forms.PasswordInput(attrs={"size": 60, "autocomplete": "off"}, render_value=True),
    )

    def clean_name(self) -> str:
        return str(self.cleaned_data["name"]).strip()


def pull_page(request: HttpRequest) -> HttpResponse:
    """GET: the form. POST: what would be fetched (`look`), or the pull, whose page follows."""
    if not request.user.has_perm("registry.add_download"):
        raise PermissionDenied
    form = PullForm(
        request.POST if request.method == "POST" else None, initial={"name": request.GET.get("name")}
    )
    plan: Plan | None = None
    if request.method == "POST" and form.is_valid():
        try:
            if "look" not in request.POST:
                return _pull(form)
            plan = _plan(form)
        except InferenceError as error:
            form.add_error("name", str(error))
    context = {
        **admin.site.each_context(request),
        "title": "Pull a model",
        "opts": Model._meta,
        "form": form,
        "plan": _shown(plan) if plan else None,
        "catalogue": [name for entry in catalog.entries() for name in entry.names],
        "media": form.media,
    }
    return TemplateResponse(request, "admin/registry/pull.html", context)


def _wish(form: PullForm) -> dict[str, Any]:
    return {key: form.cleaned_data[key] for key in ("token", "device")}


def _pull(form: PullForm) -> HttpResponse:
    download = pulls.request(form.cleaned_data["name"], **_wish(form))
    if download.pk is None:  # it ships with the program
        name = names.parse(download.name)
        row = Model.by_name(name).first()
        page = ("change", (row.pk,)) if row else ("changelist", ())
        return HttpResponseRedirect(reverse(f"admin:registry_model_{page[0]}", args=page[1]))
    return HttpResponseRedirect(reverse("admin:registry_download_change", args=(download.pk,)))


class _Slow(InferenceError):
    """The hub has not answered in time."""


def _plan(form: PullForm) -> Plan:
    """Within PLAN_S: the hub may be tried again for longer than anybody looks at a page. Raises InferenceError."""

    def ask() -> Plan:
        try:
            return pull_plan.plan(form.cleaned_data["name"], **_wish(form))
        finally:
            connections.close_all()

    try:
        return aside.begin(ask, "pull-plan").result(PLAN_S)
    except TimeoutError:
        raise _Slow(f"the hub has not answered within {PLAN_S:g} s; the pull itself waits longer") from None


def _shown(plan: Plan) -> dict[str, Any]:
    return {
        "plan": plan,
        "size": cells.size(plan.size_bytes),
        "verdicts": [
            (device, cells.tag(judged.level.replace("_", " "), _TONES[judged.level]), judged.reason)
            for device, judged in plan.verdicts.items()
        ],
        "files": [(name, cells.size(size)) for name, size in plan.files[:SHOWN_FILES]],
        "more_files": max(0, len(plan.files) - SHOWN_FILES),
    }
