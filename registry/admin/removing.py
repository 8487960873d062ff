"""Removal in admin: one page that says what goes and what stays, for one row or many, and then does it.

Django's own confirmation counts rows; here files go too, and each row may be refused for a reason of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from inference.errors import InferenceError
from registry.admin.asking import Question, ask, is_answered

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time

_QUESTION = Question("remove", "Delete?", "This cannot be undone. Deleted is:", "Delete")


class RemovingAdmin(_Admin):
    """An admin whose rows own files. Subclasses say what goes with a row, why it may not, and how it is done."""

    actions: tuple[str, ...] = ("remove",)

    def what_goes(self, row: Any) -> str:
        raise NotImplementedError

    def why_not(self, row: Any) -> str:
        """'' when it may go."""
        raise NotImplementedError

    def take_away(self, row: Any) -> None:
        """Blocking; raises InferenceError."""
        raise NotImplementedError

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.action(description="Delete the selected …", permissions=["delete"])
    def remove(self, request: HttpRequest, rows: models.QuerySet[Any]) -> HttpResponse | None:
        if is_answered(request):
            self._remove(request, list(rows))
            return None
        return self._confirm(request, list(rows))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Not in a transaction, unlike Django's: files go when the row's own transaction is durable."""
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        if is_answered(request):
            self._remove(request, [row])
            return HttpResponseRedirect(self._list())
        return self._confirm(request, [row])

    def _list(self) -> str:
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def _confirm(self, request: HttpRequest, rows: list[Any]) -> HttpResponse:
        judged = [(row, self.why_not(row)) for row in rows]
        going = [(row, self.what_goes(row)) for row, reason in judged if not reason]
        staying = [(row, reason) for row, reason in judged if reason]
        return ask(self, request, _QUESTION, going, staying)

    def _remove(self, request: HttpRequest, rows: list[Any]) -> None:
        for row in rows:
            reason = self.why_not(row)
            if reason or not self.has_delete_permission(request, row):
                self.message_user(request, f"Kept: {row}: {reason or 'not permitted'}", messages.ERROR)
                continue
            said = str(row)
            try:
                self.take_away(row)
            except InferenceError as error:
                self.message_user(request, f"Kept: {said}: {error}", messages.ERROR)
                continue
            self.log_deletions(request, [row])  # type: ignore[arg-type]
            self.message_user(request, f"Deleted: {said}", messages.SUCCESS)
