"""The admin's start page: what runs, what waits, what is wrong, each with the way to its list. Six queries at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from django import template
from django.db.models import Avg, Count, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from msgspec import Struct

from inference.states import DeviceState, Snapshot
from inference.telemetry.readings import Readings
from registry.admin import cells, running
from registry.models import Download, Model, RequestLog

register = template.Library()

HOUR: Final = timedelta(hours=1)
SHOWN: Final = 6
"""Lines of a card; the list behind it has all."""


class Line(Struct, frozen=True):
    """A line of a card."""

    name: str
    words: SafeString | str


class Card(Struct, frozen=True):
    """What is said of one table."""

    title: str
    url: str
    lines: tuple[Line, ...]
    nothing: str = ""
    """Said in the place of lines where there is none."""
    more: int = 0
    """Lines that are not shown."""


@register.inclusion_tag("admin/_dashboard.html")
def dashboard(request: HttpRequest) -> dict[str, object]:
    """Cards of those tables that the user may see."""
    now = running.snapshot()
    made: tuple[tuple[str, Callable[[], Card]], ...] = (
        ("registry.view_device", lambda: _devices(now)),
        ("registry.view_backend", lambda: _servers(now)),
        ("registry.view_model", lambda: _models(now)),
        ("registry.view_download", _downloads),
        ("registry.view_requestlog", _requests),
        ("registry.view_efficiencychoice", _mode),
    )
    cards = [make() for permission, make in made if request.user.has_perm(permission)]
    return {
        "cards": cards,
        "is_server": now is not None,
        "examine": request.user.has_perm("registry.change_device"),
    }


def _card(title: str, table: str, lines: Iterable[Line], nothing: str) -> Card:
    whole = tuple(lines)
    url = reverse(f"admin:registry_{table}_changelist")
    return Card(title, url, whole[:SHOWN], "" if whole else nothing, max(0, len(whole) - SHOWN))


def _devices(now: Snapshot | None) -> Card:
    states = [state for state in now.devices if state.local] if now else []
    lines = [Line(state.id, _work(state, now.readings)) for state in states] if now else []
    return _card("Devices", "device", lines, "no device is known yet")


def _work(state: DeviceState, readings: Readings) -> SafeString:
    if not state.available:
        return cells.tag("gone", "bad")
    words = f"{state.running} of {state.slots} busy"
    if state.waiting:
        words += f", {state.waiting} waiting"
    found = readings.of(state.id) if not state.emulated else None
    if found is not None and found.temperature.value is not None:
        words += f", {found.temperature.value:.0f} °C"
    return cells.tag(words, "busy" if state.running else "good", state.full_name)


def _servers(now: Snapshot | None) -> Card:
    states = [state for state in now.devices if not state.local] if now else []
    lines = [
        Line(state.id, cells.tag(f"{len(state.models)} models, {state.running} running", "good"))
        if state.healthy
        else Line(state.id, cells.tag("not healthy", "bad", state.fault))
        for state in states
    ]
    return _card("Other servers", "backend", lines, "none: everything runs here")


def _models(now: Snapshot | None) -> Card:
    loaded = [
        Line(
            held.name,
            cells.tag(f"{held.device}, {cells.size(held.size_bytes)}", "busy" if held.running else "good"),
        )
        for held in (now.models if now else ())
    ]
    return _card(f"Models: {Model.objects.count()} installed", "model", loaded, "none is loaded")


def _downloads() -> Card:
    active = Download.objects.filter(state__in=Download.ACTIVE).order_by("-pk")[: SHOWN + 1]
    lines = [Line(row.name, _progress(row)) for row in active]
    return _card("Downloads", "download", lines, "none is running")


def _progress(row: Download) -> SafeString:
    if not row.total_bytes:
        return cells.tag(row.get_state_display())
    share = min(1.0, row.completed_bytes / row.total_bytes)
    return cells.bar(share, f"{share:.0%} of {cells.size(row.total_bytes)}")


def _requests() -> Card:
    told = RequestLog.objects.filter(time__gte=timezone.now() - HOUR).aggregate(
        requests=Count("id"),
        failed=Count("id", filter=Q(status__gte=400) & ~Q(status=499)),
        tokens=Sum("completion_tokens"),
        rate=Avg("tokens_per_s"),
        ttft=Avg("ttft_s"),
    )
    if not told["requests"]:
        return _card("Requests of the last hour", "requestlog", (), "none")
    lines = [Line("answered", f"{told['requests'] - told['failed']:,}")]
    lines += [Line("failed", cells.tag(f"{told['failed']:,}", "bad"))] if told["failed"] else []
    lines += [Line("tokens", f"{told['tokens'] or 0:,}")]
    lines += [Line("tokens a second, mean", f"{told['rate']:.0f}")] if told["rate"] else []
    lines += [Line("first token, mean", cells.seconds(told["ttft"]))] if told["ttft"] else []
    return _card("Requests of the last hour", "requestlog", lines, "")


def _mode() -> Card:
    server = running.engine()
    if server is None:
        return _card("Efficiency", "efficiencychoice", (), "unknown: this process is not the server")
    now = server.efficiency.now
    lines = [
        Line("chosen", server.efficiency.stored),
        Line("counts now", cells.tag(now.mode.name, "good")),
        Line("because", now.reason),
    ]
    return _card("Efficiency", "efficiencychoice", lines, "")
