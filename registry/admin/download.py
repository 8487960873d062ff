"""Downloads in admin: what is pulled, how far it is, and how it ended. Bars move while they are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from registry import pull_bars, pull_state, pulls
from registry.models import Download

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Download]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time

MOST_WATCHED = 200
"""Rows of one page whose bars move."""


@admin.register(Download)
class DownloadAdmin(_Admin):
    """Read-only but for its actions: a pull begins by a name, in /api/pull, `pullmodel` or the models' page."""

    list_display = (
        "name",
        "state",
        "progress",
        "repo",
        "owner",
        "attempts",
        "created_at",
        "finished_at",
        "error",
    )
    list_filter = ("state",)
    search_fields = ("name", "repo", "error")
    actions = ("cancel", "retry")
    ordering = ("-created_at", "-id")
    list_per_page = 50
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("name", "state", "progress", "phase", "error", "error_code")}),
        ("From where", {"fields": ("repo", "revision", "commit", "endpoint", "variant", "device")}),
        (
            "Who works on it",
            {"fields": ("owner", "lease_until", "attempts", "cancel_requested", "has_token")},
        ),
        ("When", {"fields": ("created_at", "started_at", "finished_at")}),
        ("Files", {"fields": ("file_table",)}),
    )

    class Media:
        js = ("downloads.js",)

    def get_urls(self) -> list[URLPattern]:
        live = path("progress/", self.admin_site.admin_view(self.live), name="registry_download_progress")
        return [live, *super().get_urls()]

    def get_readonly_fields(self, request: HttpRequest, obj: Download | None = None) -> list[str]:
        return [str(name) for _, options in self.fieldsets for name in options["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Download | None = None) -> bool:
        """The history may be cleared; what is active is cancelled first."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.is_active)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # would take active rows along
        return actions

    def live(self, request: HttpRequest) -> JsonResponse:
        """The rows `?id=…&id=…`, for the page's script."""
        wanted = [int(pk) for pk in request.GET.getlist("id")[:MOST_WATCHED] if pk.isdecimal()]
        rows = Download.objects.filter(pk__in=wanted) if self.has_view_permission(request) else []
        return JsonResponse({"downloads": [_live(row) for row in rows]})

    @admin.display(description="progress")
    def progress(self, row: Download) -> SafeString:
        state = pull_state.of(row)
        return format_html(
            '<span data-download="{}" data-active="{}"><progress max="1" value="{}"></progress> <span>{}</span></span>',
            row.pk,
            str(state.is_active).lower(),
            f"{state.share:.4f}",
            _words(state),
        )

    @admin.display(boolean=True, description="has a token of its own")
    def has_token(self, row: Download) -> bool:
        return bool(row.secret)

    @admin.display(description="files")
    def file_table(self, row: Download) -> SafeString:
        lines = format_html_join(
            "",
            '<tr><td>{}</td><td style="text-align:right">{}</td><td style="text-align:right">{}</td>'
            "<td><code>{}</code></td></tr>",
            (
                (
                    file.name,
                    filesizeformat(file.completed_bytes),
                    filesizeformat(file.size_bytes),
                    file.sha256,
                )
                for file in pull_state.of(row).files
            ),
        )
        return format_html("<table>{}</table>", lines)

    @admin.action(description="Cancel the selected downloads and remove their files", permissions=["change"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Download]) -> None:
        for row in rows:
            try:
                pulls.cancel(row)
                self.message_user(request, f"Cancelled: {row.name}", messages.SUCCESS)
            except pulls.NotActive:
                self.message_user(request, f"Nothing to cancel: {row.name} has ended", messages.WARNING)

    @admin.action(description="Pull the selected downloads again", permissions=["change"])
    def retry(self, request: HttpRequest, rows: QuerySet[Download]) -> None:
        for row in rows:
            again = pulls.again(row)
            words = "Joined the running pull of" if again.pk == row.pk else "Asked for"
            self.message_user(request, f"{words} {again.name}", messages.SUCCESS)


def _words(state: pull_state.PullState) -> str:
    return pull_bars.line(state).partition(": ")[2] if state.is_active else f"{state.share:.0%}"


def _live(row: Download) -> dict[str, Any]:
    state = pull_state.of(row)
    return {
        "id": row.pk,
        "state": state.state,
        "active": state.is_active,
        "share": state.share,
        "words": _words(state),
    }
