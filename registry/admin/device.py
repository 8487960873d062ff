"""Devices in admin: what the server found, what runs on each now, and how much memory models may take there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from inference.states import DeviceState, LoadedModel
from registry.admin import cells, running
from registry.devices import MB
from registry.models import Device

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Device]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time


@admin.register(Device)
class DeviceAdmin(_Admin):
    """The server writes the rows; an operator gives budgets."""

    list_display = ("name", "state", "what", "models", "work", "memory", "budget")
    list_display_links = ("name",)
    search_fields = ("name", "full_name")
    fields = (
        *("name", "what", "kind", "driver_line", "total", "state", "models", "work"),
        *("memory", "memory_budget_mb", "found_at"),
    )
    readonly_fields = tuple(name for name in fields if name != "memory_budget_mb")
    empty_words = "The server writes down the devices that it finds at its start: run `manage.py serve`."

    class Media:
        css = cells.STYLES

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False

    @admin.display(description="state")
    def state(self, row: Device) -> SafeString:
        if running.snapshot() is None:
            return cells.tag("unknown", title="this process is not the server")
        found = _state(row)
        if found is None:
            return cells.tag("not there now", "warn", "the server did not find it at its last start")
        return cells.tag("available", "good") if found.available else cells.tag("not available", "bad")

    @admin.display(description="device", ordering="full_name")
    def what(self, row: Device) -> str:
        return (row.full_name or cells.UNKNOWN) + (" (emulated)" if row.emulated else "")

    @admin.display(description="driver")
    def driver_line(self, row: Device) -> str:
        return row.driver or "the runtime does not tell"

    @admin.display(description="memory it has")
    def total(self, row: Device) -> str:
        return cells.size(row.memory_bytes)

    @admin.display(description="models on it now")
    def models(self, row: Device) -> SafeString:
        return cells.tags(held.name for held in _held(row))

    @admin.display(description="requests now")
    def work(self, row: Device) -> str:
        found = _state(row)
        if found is None:
            return cells.UNKNOWN
        if not (found.running or found.waiting):
            return "none"
        return f"{found.running} of {found.slots} running, {found.waiting} waiting"

    @admin.display(description="memory of its models")
    def memory(self, row: Device) -> SafeString | str:
        used = sum(held.size_bytes for held in _held(row))
        if not row.memory_budget_mb:
            return cells.size(used)
        budget = row.memory_budget_mb * MB
        return cells.bar(
            min(1.0, used / budget), f"{cells.size(used) if used else 'none'} of {cells.size(budget)}"
        )

    @admin.display(description="budget", ordering="memory_budget_mb")
    def budget(self, row: Device) -> str:
        return f"{row.memory_budget_mb:,} MB" if row.memory_budget_mb else cells.UNKNOWN


def _state(row: Device) -> DeviceState | None:
    now = running.snapshot()
    return next((state for state in now.devices if state.id == row.name), None) if now else None


def _held(row: Device) -> list[LoadedModel]:
    now = running.snapshot()
    return [held for held in now.models if held.device == row.name] if now else []
