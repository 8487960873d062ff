"""Measured profiles in admin: how fast each model is on each device, with counts and bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet, Subquery
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry.admin import cells
from registry.admin.why_here import why_page
from registry.models import Profile

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Profile]

    class Measured(Profile):
        """As the list has it."""

        most_prefill: float | None
        least_tpot_s: float | None
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time


@admin.register(Profile)
class ProfileAdmin(_Admin):
    """Read-only, but that a profile may be removed: it starts anew with the server's next start."""

    list_display = ("model", "backend", "prefill", "token_rate", "load", "energy", "power", "changed")
    list_filter = ("backend",)
    search_fields = ("model", "backend")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = (*list_display, "key")
    empty_words = (
        "Nothing was measured yet: three requests make a profile, or `manage.py bench --profile MODEL`."
    )

    change_list_template = "admin/registry/profile_list.html"

    class Media:
        css = cells.STYLES

    def get_urls(self) -> list[URLPattern]:
        why = path("why/", self.admin_site.admin_view(why_page), name="registry_profile_why")
        return [why, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Profile | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Profile]:
        """Each row with the best of all, which its bars are measured by."""
        whole = Profile.objects.order_by()
        fastest = whole.filter(prefill_tokens_per_s__isnull=False).order_by("-prefill_tokens_per_s")
        quickest = whole.filter(tpot_s__gt=0).order_by("tpot_s")
        return (
            super()
            .get_queryset(request)
            .annotate(
                most_prefill=Subquery(fastest.values("prefill_tokens_per_s")[:1]),
                least_tpot_s=Subquery(quickest.values("tpot_s")[:1]),
            )
        )

    @admin.display(description="prefill", ordering="prefill_tokens_per_s")
    def prefill(self, row: Measured) -> SafeString | str:
        return _bar(row.prefill_tokens_per_s, row.most_prefill, "tokens/s", row.prefill_count)

    @admin.display(description="decode", ordering="-tpot_s")
    def token_rate(self, row: Measured) -> SafeString | str:
        return _bar(_rate(row.tpot_s), _rate(row.least_tpot_s), "tokens/s", row.tpot_count)

    @admin.display(description="load", ordering="load_s")
    def load(self, row: Profile) -> str:
        return _figure(row.load_s, "s", row.load_count)

    @admin.display(description="J/token", ordering="joules_per_token")
    def energy(self, row: Profile) -> str:
        return _figure(row.joules_per_token, "J", row.joules_count)

    @admin.display(description="watts", ordering="watts")
    def power(self, row: Profile) -> str:
        return _figure(row.watts, "W", row.watts_count)

    @admin.display(description="measured last", ordering="changed_at")
    def changed(self, row: Profile) -> SafeString:
        return cells.ago(row.changed_at)


def _rate(tpot_s: float | None) -> float | None:
    return 1 / tpot_s if tpot_s else None


def _figure(median: float | None, unit: str, count: int) -> str:
    return "unknown" if median is None else f"{median:.3g} {unit} ({count})"


def _bar(median: float | None, most: float | None, unit: str, count: int) -> SafeString | str:
    """The median beside a bar whose full length is the highest of all."""
    if median is None:
        return "unknown"
    return format_html(
        '<span class="bar"><meter min="0" max="{}" value="{}" aria-hidden="true"></meter> {} {} '
        "<small>({})</small></span>",
        f"{most or median:.3f}", f"{median:.3f}", f"{median:,.0f}", unit, count,
    )  # fmt: skip
