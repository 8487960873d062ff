"""A row's page with the actions of its list as buttons, for tables that nobody edits: nothing to save there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time


class PageActions(_Admin):
    """Everything is read-only; `buttons` are the actions that make sense for the row as it is."""

    change_form_template = "admin/registry/page.html"

    def buttons(self, row: Any) -> dict[str, str]:
        """Action -> the words on its button."""
        raise NotImplementedError

    def why(self, request: HttpRequest, row: Any) -> str:
        """The address of `Why here?` for this row; '' for no link."""
        return ""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [str(name) for _, options in self.fieldsets or () for name in options["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        permitted = self.get_actions(request)
        wanted = self.buttons(row) if row is not None else {}
        context: dict[str, Any] = {
            "title": str(self.opts.verbose_name).capitalize(),
            "page_actions": [(name, words) for name, words in wanted.items() if name in permitted],
            "why_url": self.why(request, row) if row is not None else "",
            "list_url": reverse(self._name("changelist")),
            "show_save": False,
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
        }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any
    ) -> HttpResponse | None:
        """An action that was begun on a row's page goes back there."""
        response: HttpResponse | None = super().response_action(request, queryset, *args)
        page = request.POST.get("page", "")
        if page.isdecimal() and isinstance(response, HttpResponseRedirect):
            return HttpResponseRedirect(reverse(self._name("change"), args=(page,)))
        return response

    def _name(self, view: str) -> str:
        return f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{view}"
