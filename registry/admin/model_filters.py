"""Filters of the models' list that no column holds: what is loaded now, and how the last verification ended."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest

from registry.admin import running
from registry.models import Model, Verification


class LoadedFilter(admin.SimpleListFilter):
    title = "loaded now"
    parameter_name = "loaded"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        if self.value() not in ("yes", "no"):
            return queryset
        now = running.snapshot()
        held = {name for one in now.models for name in (one.name, *one.names)} if now else set()
        wanted = Q(name__in=held)
        return queryset.filter(wanted if self.value() == "yes" else ~wanted)


class VerifiedFilter(admin.SimpleListFilter):
    title = "files"
    parameter_name = "files"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        states = Verification.States
        return [
            (states.GOOD.value, "Good"),
            (states.DAMAGED.value, "Damaged"),
            (states.RUNNING.value, "Being verified"),
            ("never", "Not verified"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        current = Q(verification__digest=F("digest"))
        value = self.value()
        if value == "never":
            known = Model.objects.filter(current).values("pk")
            return queryset.exclude(pk__in=known)
        return queryset.filter(current, verification__state=value) if value else queryset
