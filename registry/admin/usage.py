"""Use in admin: which model ran where, how much, how fast. The server writes it; nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from registry.admin import cells
from registry.admin.digests import of_content
from registry.models import Usage

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Usage]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time


@admin.register(Usage)
class UsageAdmin(_Admin):
    """Read-only."""

    list_display = (
        "of_model",
        "device",
        "request_count",
        "prompt_token_count",
        "token_count",
        "ttft",
        "speed",
        "load",
        "last_used",
    )
    list_filter = ("device",)
    search_fields = ("digest", "device")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_words = "No model has answered yet. The server writes use down every few seconds."
    fields = (*list_display, "digest")

    class Media:
        css = cells.STYLES

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Usage | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Usage | None = None) -> bool:
        return False

    @admin.display(description="model", ordering="digest")
    def of_model(self, row: Usage) -> SafeString:
        return of_content(row.digest)

    @admin.display(description="requests", ordering="requests")
    def request_count(self, row: Usage) -> str:
        return f"{row.requests:,}"

    @admin.display(description="prompt tokens", ordering="prompt_tokens")
    def prompt_token_count(self, row: Usage) -> str:
        return f"{row.prompt_tokens:,}"

    @admin.display(description="completion tokens", ordering="completion_tokens")
    def token_count(self, row: Usage) -> str:
        return f"{row.completion_tokens:,}"

    @admin.display(description="TTFT", ordering="ttft_s")
    def ttft(self, row: Usage) -> str:
        return cells.seconds(row.ttft_s)

    @admin.display(description="tokens/s", ordering="tokens_per_s")
    def speed(self, row: Usage) -> str:
        return f"{row.tokens_per_s:,.0f}" if row.tokens_per_s else cells.UNKNOWN

    @admin.display(description="load", ordering="load_s")
    def load(self, row: Usage) -> str:
        return cells.seconds(row.load_s)

    @admin.display(description="last used", ordering="used_at")
    def last_used(self, row: Usage) -> SafeString:
        return cells.ago(row.used_at)
