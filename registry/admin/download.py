"""Downloads in admin: what is pulled, how far it is, and how it ended. Bars move while they are looked at."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry import pull_bars, pull_state, pulls
from registry.admin import cells
from registry.admin.asking import Question, ask, is_answered
from registry.admin.page_actions import PageActions
from registry.models import Download

_TONES: Final[dict[str, cells.Tone]] = {
    "queued": "plain",
    "running": "busy",
    "done": "good",
    "failed": "bad",
    "cancelled": "warn",
}

_CANCEL = Question("cancel", "Cancel?", "Who waits for it gets an error. Cancelled is:", "Cancel")
_FORGET = Question(
    "forget",
    "Remove from the history?",
    "The models stay. Of these downloads nothing is known then:",
    "Remove",
)
MOST_WATCHED = 200
"""Rows of one page whose bars move."""


@admin.register(Download)
class DownloadAdmin(PageActions):
    """Read-only but for its actions: a pull begins by a name, in /api/pull, `pullmodel` or the models' page."""

    list_display = ("name", "shown_state", "progress", "repo", "began", "took", "error")
    list_filter = ("state", "error_code", "device")
    search_fields = ("name", "repo", "error")
    actions = ("cancel", "retry", "forget")
    ordering = ("-created_at", "-id")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_words = "Nothing was pulled yet. Models are pulled from their own list."
    fieldsets = (
        (None, {"fields": ("name", "shown_state", "progress", "phase", "error", "error_code")}),
        ("From where", {"fields": ("repo", "revision", "commit", "endpoint", "variant", "device")}),
        (
            "Who works on it",
            {"fields": ("owner", "lease_until", "attempts", "cancel_requested", "has_token")},
        ),
        ("When", {"fields": ("created_at", "started_at", "finished_at")}),
        ("Files", {"fields": ("file_table",)}),
    )

    class Media:
        css = cells.STYLES
        js = ("downloads.js",)

    def get_urls(self) -> list[URLPattern]:
        live = path("progress/", self.admin_site.admin_view(self.live), name="registry_download_progress")
        return [live, *super().get_urls()]

    def buttons(self, row: Download) -> dict[str, str]:
        return {"cancel": "Cancel"} if row.is_active else {"retry": "Pull again"}

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

    @admin.display(description="state", ordering="state")
    def shown_state(self, row: Download) -> SafeString:
        return format_html(
            '<span data-state="{}">{}</span>', row.pk, cells.tag(row.state, _TONES[str(row.state)])
        )

    @admin.display(description="began", ordering="created_at")
    def began(self, row: Download) -> SafeString:
        return cells.ago(row.created_at)

    @admin.display(description="took")
    def took(self, row: Download) -> str:
        ended = row.started_at is not None and row.finished_at is not None
        return cells.seconds(pull_state.of(row).elapsed_s) if ended else cells.UNKNOWN

    @admin.display(boolean=True, description="has a token of its own")
    def has_token(self, row: Download) -> bool:
        return bool(row.secret)

    @admin.display(description="files")
    def file_table(self, row: Download) -> SafeString:
        return cells.table(
            ("file", "fetched", "size", "sha256"),
            (
                (
                    file.name,
                    format_html(
                        '<span data-file="{}">{}</span>', file.name, filesizeformat(file.completed_bytes)
                    ),
                    filesizeformat(file.size_bytes),
                    cells.mono(file.sha256),
                )
                for file in pull_state.of(row).files
            ),
        )

    @admin.action(description="Cancel the selected downloads and remove their files", permissions=["change"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Download]) -> HttpResponse | None:
        if not is_answered(request):
            going = [(row, _fetched(row)) for row in rows if row.is_active]
            staying = [(row, "it has ended") for row in rows if not row.is_active]
            return ask(self, request, _CANCEL, going, staying)
        for row in rows:
            try:
                pulls.cancel(row)
                self.message_user(request, f"Cancelled: {row.name}", messages.SUCCESS)
            except pulls.NotActive:
                self.message_user(request, f"Nothing to cancel: {row.name} has ended", messages.WARNING)
        return None

    @admin.action(description="Pull the selected downloads again", permissions=["change"])
    def retry(self, request: HttpRequest, rows: QuerySet[Download]) -> None:
        for row in rows:
            active = pulls.active_of(row.name)
            again = pulls.again(row)
            words = "Joined the running pull of" if active == again else "Asked for"
            self.message_user(request, f"{words} {again.name}", messages.SUCCESS)

    @admin.action(description="Remove the selected from the history", permissions=["delete"])
    def forget(self, request: HttpRequest, rows: QuerySet[Download]) -> HttpResponse | None:
        """Models stay; so do downloads that go on, in the same statement."""
        if not is_answered(request):
            going = [(row, f"from {row.repo}") for row in rows if not row.is_active]
            return ask(self, request, _FORGET, going, [(row, "it goes on") for row in rows if row.is_active])
        wanted = list(rows.values_list("pk", flat=True))
        count, _ = Download.objects.exclude(state__in=Download.ACTIVE).filter(pk__in=wanted).delete()
        self.message_user(request, f"Removed {count} of {len(wanted)} selected", messages.SUCCESS)
        return None


def _fetched(row: Download) -> str:
    return f"{filesizeformat(row.completed_bytes)} that were fetched go"


def _words(state: pull_state.PullState) -> str:
    return pull_bars.line(state).partition(": ")[2] if state.is_active else f"{state.share:.0%}"


def _live(row: Download) -> dict[str, Any]:
    state = pull_state.of(row)
    return {
        "id": row.pk,
        "state": state.state,
        "tag": str(cells.tag(state.state, _TONES[state.state])),
        "files": {file.name: filesizeformat(file.completed_bytes) for file in state.files},
        "active": state.is_active,
        "share": state.share,
        "words": _words(state),
    }
