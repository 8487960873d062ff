"""The log of requests in admin: read-only, searched by request id, narrowed by what an operator asks about.

No list counts the table: a million rows are counted as far as anybody pages, and filters offer what small tables know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from registry import request_export
from registry.admin import cells, why_here
from registry.models import ApiKey, Backend, Device, Model, RequestLog

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[RequestLog]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time

MOST_COUNTED = 10_000
_CLIENT_GONE = 499
_PRIORITIES = ("best-effort", "normal", "high", "critical")


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than MOST_COUNTED; who looks for older rows narrows the list."""

    @cached_property
    def count(self) -> int:
        return self.object_list[: MOST_COUNTED + 1].count()  # type: ignore[no-any-return, attr-defined]


class _Filter(admin.SimpleListFilter):
    """By one column; the choices come from `choices_of`."""

    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in self.choices_of()]

    def choices_of(self) -> list[str]:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class ModelFilter(_Filter):
    title, parameter_name, column = "model", "for_model", "model__in"

    def choices_of(self) -> list[str]:
        return list(Model.objects.order_by("name").values_list("name", flat=True)[:100])

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        """Asked for with its tag or, where that is the usual one, without."""
        name = self.value()
        return queryset.filter(model__in=(name, name.removesuffix(":latest"))) if name else queryset


class DeviceFilter(_Filter):
    title, parameter_name, column = "routed to", "device", "routed"

    def choices_of(self) -> list[str]:
        devices = Device.objects.order_by("name").values_list("name", flat=True)
        return [*devices, *Backend.objects.order_by("name").values_list("name", flat=True)[:100]]


class KeyFilter(_Filter):
    title, parameter_name, column = "API key", "by_key", "key"

    def choices_of(self) -> list[str]:
        return list(ApiKey.objects.order_by("name").values_list("name", flat=True)[:100])


class StatusFilter(_Filter):
    title, parameter_name = "status", "ended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("ok", "answered"),
            ("gone", "client left"),
            ("refused", "refused (4xx)"),
            ("failed", "failed (5xx)"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        bounds = {"ok": (200, 299), "gone": (499, 499), "refused": (400, 498), "failed": (500, 599)}
        wanted = bounds.get(self.value() or "")
        return queryset.filter(status__range=wanted) if wanted else queryset


class TimeFilter(_Filter):
    title, parameter_name = "time", "within"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "last hour"), ("24", "last day"), ("168", "last week")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        if self.value() not in ("1", "24", "168"):
            return queryset
        return queryset.filter(time__gte=timezone.now() - timedelta(hours=int(self.value() or 0)))


@admin.register(RequestLog)
class RequestLogAdmin(_Admin):
    """The server writes it; nobody else does."""

    list_display = (
        *("when", "request_id", "shown_model", "outcome", "way", "why", "tokens", "ttft", "speed", "energy"),
        *("total", "level", "key", "endpoint"),
    )
    list_display_links = ("request_id",)
    list_filter = (StatusFilter, ModelFilter, DeviceFilter, KeyFilter, TimeFilter)
    search_fields = ("request_id",)
    search_help_text = "by the whole request id"
    ordering = ("-id",)
    paginator = BoundedPaginator
    list_per_page = 100
    list_max_show_all = 200
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_form_template = "admin/registry/page.html"
    actions = ("export_csv", "export_json_lines")
    empty_words = (
        "No requests yet, or NPU_PROXY_LOG_DAYS is 0. The server writes them down every two seconds."
    )

    fieldsets = (
        (None, {"fields": ("request_id", "arrived", "shown_model", "endpoint", "dialect", "key", "level")}),
        ("How it ended", {"fields": ("outcome", "error")}),
        ("Where it ran", {"fields": ("requested", "routed", "executed", "reason", "fallback_reason")}),
        ("How long it took", {"fields": ("total", "queue", "load", "ttft", "decode", "speed")}),
        ("What it took", {"fields": ("prompt_tokens", "completion_tokens", "joules", "energy")}),
    )

    class Media:
        css = cells.STYLES

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RequestLog | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RequestLog | None = None) -> bool:
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        why = why_here.address(request, model=row.model) if row is not None and row.model else ""
        return super().change_view(request, object_id, form_url, {"why_url": why, **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RequestLog], search_term: str
    ) -> tuple[QuerySet[RequestLog], bool]:
        """By the index: Django's own search reads every row."""
        term = search_term.strip()
        return (queryset.filter(request_id=term) if term else queryset), False

    @admin.action(description="Export the selected as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, rows: QuerySet[RequestLog]) -> StreamingHttpResponse:
        return _download(rows, "csv")

    @admin.action(description="Export the selected as JSON lines", permissions=["view"])
    def export_json_lines(self, request: HttpRequest, rows: QuerySet[RequestLog]) -> StreamingHttpResponse:
        return _download(rows, "jsonl")

    @admin.display(description="time", ordering="id")
    def when(self, row: RequestLog) -> SafeString:
        return cells.ago(row.time)

    @admin.display(description="model", ordering="model")
    def shown_model(self, row: RequestLog) -> str:
        return row.model or cells.UNKNOWN

    @admin.display(description="status")
    def outcome(self, row: RequestLog) -> SafeString:
        tone: cells.Tone = "good" if row.status < 400 else "plain" if row.status == _CLIENT_GONE else "bad"
        return cells.tag(row.status, tone, row.error)

    @admin.display(description="requested → routed → executed")
    def way(self, row: RequestLog) -> str:
        return f"{row.requested} → {row.routed} → {row.executed}" if row.routed else cells.UNKNOWN

    @admin.display(description="reason")
    def why(self, row: RequestLog) -> str:
        words = " after ".join(filter(None, (row.reason, row.fallback_reason)))
        return words.replace("_", " ") or cells.UNKNOWN

    @admin.display(description="tokens")
    def tokens(self, row: RequestLog) -> str:
        return f"{row.prompt_tokens:,} → {row.completion_tokens:,}" if row.routed else cells.UNKNOWN

    @admin.display(description="TTFT")
    def ttft(self, row: RequestLog) -> str:
        return cells.seconds(row.ttft_s)

    @admin.display(description="tokens/s")
    def speed(self, row: RequestLog) -> str:
        return f"{row.tokens_per_s:,.0f}" if row.tokens_per_s else cells.UNKNOWN

    @admin.display(description="J/token")
    def energy(self, row: RequestLog) -> str:
        if row.energy_j is None or not row.completion_tokens:
            return cells.UNKNOWN
        return f"{row.energy_j / row.completion_tokens:.2f} {row.energy_source}"

    @admin.display(description="total")
    def total(self, row: RequestLog) -> str:
        return cells.seconds(row.total_s)

    @admin.display(description="time")
    def arrived(self, row: RequestLog) -> SafeString:
        return cells.moment(row.time)

    @admin.display(description="waited for its device")
    def queue(self, row: RequestLog) -> str:
        return cells.seconds(row.queue_s)

    @admin.display(description="load of the model")
    def load(self, row: RequestLog) -> str:
        return cells.seconds(row.load_s)

    @admin.display(description="decode")
    def decode(self, row: RequestLog) -> str:
        return cells.seconds(row.decode_s)

    @admin.display(description="energy")
    def joules(self, row: RequestLog) -> str:
        return cells.UNKNOWN if row.energy_j is None else f"{row.energy_j:.1f} J {row.energy_source}"

    @admin.display(description="priority")
    def level(self, row: RequestLog) -> str:
        return _PRIORITIES[row.priority]


def _download(rows: QuerySet[RequestLog], form: str) -> StreamingHttpResponse:
    """A page of rows in memory at a time, and no thread between two pages."""
    name = f"requests-{timezone.now():%Y%m%d-%H%M%S}.{form}"
    return StreamingHttpResponse(
        _pages(rows, form),
        content_type=request_export.CONTENT_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def _pages(rows: QuerySet[RequestLog], form: str) -> AsyncIterator[bytes]:
    yield request_export.head(form)
    last = 0
    while True:
        last, page = await sync_to_async(request_export.next_page)(rows, last, form)
        if not page:
            return
        yield page
