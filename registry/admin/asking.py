"""An action that cannot be undone asks first: one page that names each row and what becomes of it, with a way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.admin import helpers
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from msgspec import Struct


class Question(Struct, frozen=True):
    """`warning` stands above the rows; `button` does it."""

    action: str
    title: str
    warning: str
    button: str


def is_answered(request: HttpRequest) -> bool:
    return bool(request.POST.get("post"))


def ask(
    model_admin: Any,
    request: HttpRequest,
    question: Question,
    going: Iterable[tuple[Any, str]],
    staying: Sequence[tuple[Any, str]] = (),
) -> TemplateResponse:
    """`going`: each row with what becomes of it; `staying`: with why not. From a row's page the way back is there."""
    opts = model_admin.opts
    name = f"{model_admin.admin_site.name}:{opts.app_label}_{opts.model_name}"
    page = request.POST.get("page", "")
    listed = reverse(f"{name}_changelist")
    context = {
        **model_admin.admin_site.each_context(request),
        "title": question.title,
        "question": question,
        "opts": opts,
        "media": model_admin.media,
        "going": list(going),
        "staying": list(staying),
        "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        "page": page if page.isdecimal() else "",
        "listed": listed,
        "back": reverse(f"{name}_change", args=(page,)) if page.isdecimal() else listed,
    }
    return TemplateResponse(request, "admin/registry/asking.html", context)
