"""Models in admin: what is it, where does it run, is it well. Nothing is typed: rows come from pulls and imports."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from registry import store, weights
from registry.admin import cells, model_health, why_here
from registry.admin.model_actions import ModelActions
from registry.admin.model_filters import LoadedFilter, VerifiedFilter
from registry.admin.page_actions import PageActions
from registry.admin.pull_form import pull_page
from registry.models import Alias, CompileCache, Model, Usage

MOST_WATCHED = 200
"""Rows of one page whose state moves."""

HEAVY = ("files", "tokenizer", "chat_template", "template", "system", "licence", "messages", "parameters")
"""Fields that no list shows, some of a megabyte."""


class _List(ChangeList):
    """A page of the list, without the texts that it does not show, and with the last use of each model."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if isinstance(self.result_list, QuerySet):
            self.result_list = list(self.result_list.defer(*HEAVY))
        digests = {info.name: info.digest for info in store.all_models()}
        shown = [digests.get(row.name, "") for row in self.result_list]
        used: dict[str, Usage] = {}
        for use in Usage.objects.filter(digest__in=shown).order_by("used_at"):
            fast = use.tokens_per_s or (used[use.digest].tokens_per_s if use.digest in used else None)
            use.tokens_per_s = fast  # of the last device that generated
            used[use.digest] = use
        for row, digest in zip(self.result_list, shown, strict=True):
            row.last_use = used.get(digest)


@admin.register(Model)
class ModelAdmin(PageActions, ModelActions):
    """Read-only but for its actions; a load runs in the server's engine, which lives in the same process."""

    list_display = (
        "shown_name",
        "runs_on",
        "verified",
        "size",
        "weights",
        "context",
        "can",
        "last_used",
        "speed",
    )
    list_filter = (
        "kind",
        LoadedFilter,
        VerifiedFilter,
        "pinned",
        "local_only",
        "quantization",
        "family",
        "builtin",
    )
    search_fields = ("name", "family", "architecture", "digest", "source")
    list_per_page = 50
    list_select_related = ("verification",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_words = "No models: pull one."
    change_list_template = "admin/registry/model_list.html"
    fieldsets = (
        (None, {"fields": ("kind", "can", "size", "licence_line")}),
        ("Where it runs", {"fields": ("runs_on", "pinned", "local_only", "usage", "caches")}),
        ("Is it well", {"fields": ("verified", "faults")}),
        (
            "What it is",
            {
                "fields": (
                    "family",
                    "architecture",
                    "parameter_size",
                    "quantization",
                    "context_length",
                    "embedding_length",
                    "block_count",
                    "head_count",
                    "head_count_kv",
                    "kv_cache",
                )
            },
        ),
        (
            "Where it comes from and lies",
            {
                "fields": (
                    "builtin",
                    "source",
                    "revision",
                    "parent",
                    "children",
                    "aliases",
                    "format",
                    "modified_at",
                    "path",
                    "digest",
                    "file_table",
                )
            },
        ),
        (
            "How it is loaded",
            {"fields": ("exact", "pooling", "system", "parameters", "adapters")},
        ),
        ("Texts", {"classes": ("collapse",), "fields": ("template", "chat_template", "licence")}),
    )

    class Media:
        css = cells.STYLES
        js = ("models.js",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("pull/", view(pull_page), name="registry_model_pull"),
            path("live/", view(self.live), name="registry_model_live"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may_pull = request.user.has_perm("registry.add_download")
        return super().changelist_view(request, {**(extra_context or {}), "may_pull": may_pull})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[_List]:
        return _List

    def buttons(self, row: Model) -> dict[str, str]:
        pin = {"unpin": "Unpin"} if row.pinned else {"pin": "Pin"}
        again = {"pull": "Pull again"} if row.is_of_hub else {}
        home = (
            {"let_out": "Let other servers answer"}
            if row.local_only
            else {"keep_here": "Keep on this machine"}
        )
        return {"load": "Load", "unload": "Unload", **pin, **home, "verify": "Verify files", **again}

    def why(self, request: HttpRequest, row: Model) -> str:
        return why_here.address(request, model=row.name) if row.kind == "chat" else ""

    def live(self, request: HttpRequest) -> JsonResponse:
        """The cells of the rows `?id=…&id=…` that move, for the page's script."""
        wanted = [int(pk) for pk in request.GET.getlist("id")[:MOST_WATCHED] if pk.isdecimal()]
        rows = Model.objects.select_related("verification").filter(pk__in=wanted)
        seen = rows.only("name", "digest", "verification") if self.has_view_permission(request) else []
        return JsonResponse(
            {
                "models": [
                    {
                        "id": row.pk,
                        "runs_on": str(model_health.where(row)),
                        "verified": str(model_health.verified(row)),
                    }
                    for row in seen
                ]
            }
        )

    # --- a row of the list ------------------------------------------------------------------------------------

    @admin.display(description="name", ordering="name")
    def shown_name(self, row: Model) -> SafeString:
        said = (("pinned", row.pinned), ("this machine only", row.local_only), ("built in", row.builtin))
        marks = [mark for mark, is_so in said if is_so]
        shown = cells.tags(marks) if marks else ""
        return format_html('<span class="name">{}</span> {}', row.name, shown)

    @admin.display(description="runs on")
    def runs_on(self, row: Model) -> SafeString:
        return format_html(
            '<span data-model="{}" data-cell="runs_on">{}</span>', row.pk, model_health.where(row)
        )

    @admin.display(description="files", ordering="verification__ended_at")
    def verified(self, row: Model) -> SafeString:
        return format_html(
            '<span data-model="{}" data-cell="verified">{}</span>', row.pk, model_health.verified(row)
        )

    @admin.display(ordering="size_bytes")
    def size(self, row: Model) -> str:
        return cells.size(row.size_bytes)

    @admin.display(description="parameters", ordering="parameter_count")
    def parameter_size(self, row: Model) -> str:
        return weights.human(row.parameter_count) if row.parameter_count else cells.UNKNOWN

    @admin.display(description="weights", ordering="parameter_count")
    def weights(self, row: Model) -> SafeString:
        """How many, of what, how precise."""
        of = " ".join((row.family, row.kind) if row.kind == Model.Kinds.EMBEDDING else (row.family,))
        return format_html("{} {} <small>{}</small>", self.parameter_size(row), row.quantization, of)

    @admin.display(description="context", ordering="context_length")
    def context(self, row: Model) -> str:
        return f"{row.context_length:,}"

    @admin.display(description="capabilities")
    def can(self, row: Model) -> SafeString:
        return cells.tags(row.capabilities)

    @admin.display(description="last used")
    def last_used(self, row: Model) -> SafeString:
        use: Usage | None = getattr(row, "last_use", None)
        if use is None:
            return cells.ago(None)
        return format_html("{} <small>on {}</small>", cells.ago(use.used_at), use.device)

    @admin.display(description="tokens/s")
    def speed(self, row: Model) -> str:
        use: Usage | None = getattr(row, "last_use", None)
        return f"{use.tokens_per_s:,.0f}" if use and use.tokens_per_s else cells.UNKNOWN

    # --- its page ---------------------------------------------------------------------------------------------

    @admin.display(description="damaged files")
    def faults(self, row: Model) -> SafeString:
        return model_health.faults(row)

    @admin.display(description="licence")
    def licence_line(self, row: Model) -> str:
        return row.licence.strip().partition("\n")[0][:120] or cells.UNKNOWN

    @admin.display(description="KV cache")
    def kv_cache(self, row: Model) -> str:
        return f"{row.kv_bytes_per_token:,} bytes a token" if row.kv_bytes_per_token else cells.UNKNOWN

    @admin.display(description="use, by device")
    def usage(self, row: Model) -> SafeString:
        head = ("device", "requests", "prompt tokens", "tokens", "TTFT", "tokens/s", "load", "last used")
        return cells.table(
            head,
            (
                (
                    use.device,
                    f"{use.requests:,}",
                    f"{use.prompt_tokens:,}",
                    f"{use.completion_tokens:,}",
                    cells.seconds(use.ttft_s),
                    f"{use.tokens_per_s:,.0f}" if use.tokens_per_s else cells.UNKNOWN,
                    cells.seconds(use.load_s),
                    cells.ago(use.used_at),
                )
                for use in Usage.objects.filter(digest=row.content_digest)
            ),
        )

    @admin.display(description="compile caches")
    def caches(self, row: Model) -> SafeString:
        rows = CompileCache.objects.filter(digest=row.digest)
        return cells.table(
            ("device", "driver", "OpenVINO", "size", "compiled in", "last used"),
            (
                (
                    cache.device,
                    cache.driver or cells.UNKNOWN,
                    cache.openvino,
                    cells.size(cache.size_bytes),
                    cells.seconds(cache.compile_s),
                    cells.ago(cache.used_at),
                )
                for cache in rows
            ),
        )

    @admin.display(description="made from it")
    def children(self, row: Model) -> SafeString:
        return _links(Model.objects.filter(parent__iexact=row.name).only("name"), "model")

    @admin.display(description="aliases")
    def aliases(self, row: Model) -> SafeString:
        return _links(Alias.objects.filter(target__iexact=row.name), "alias")

    @admin.display(description="files")
    def file_table(self, row: Model) -> SafeString:
        return cells.table(
            ("file", "size", "sha256"),
            (
                (name, cells.size(size), cells.mono(sha256))
                for name, (size, sha256) in sorted(row.files.items())
            ),
        )


def _links(rows: QuerySet[Any], table: str) -> SafeString:
    """Their pages, twenty at most."""
    shown = list(rows[:21])
    links = ((reverse(f"admin:registry_{table}_change", args=(row.pk,)), row.name) for row in shown[:20])
    more = ", …" if len(shown) > 20 else ""
    return (
        format_html("{}{}", format_html_join(", ", '<a href="{}">{}</a>', links), more)
        if shown
        else cells.UNKNOWN
    )
