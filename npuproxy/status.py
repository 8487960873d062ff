"""The status page: one snapshot of the engine and the registry's rows, made into words once, shown whole or in part.

What is not known says so ("unknown", "–"); nothing here is a constant that looks like a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from msgspec import Struct

from inference import engine
from inference.states import DeviceState, LoadedModel, RequestRecord, Snapshot
from inference.telemetry.readings import WATT, DeviceReadings, Reading, Readings
from npuproxy import banner
from registry import store, use
from registry.model_info import ModelInfo
from registry.use import Life

SHOWN_REQUESTS = 50
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
}


class DeviceCard(Struct, frozen=True, kw_only=True):
    """A device with what it says of itself; '' for what is unknown."""

    state: DeviceState
    temperature: str
    power: str
    load: str
    warnings: tuple[str, ...]


class ModelRow(Struct, frozen=True, kw_only=True):
    """A model that exists, with the workers that hold it now."""

    name: str
    kind: str
    facts: tuple[str, ...]
    capabilities: tuple[str, ...]
    workers: tuple[WorkerRow, ...]
    history: tuple[str, ...]
    """Where it ran before, and what its compile caches take."""


class WorkerRow(Struct, frozen=True, kw_only=True):
    """A worker with a model."""

    device: str
    executed: str
    state: str
    running: int
    size: str
    leaves: str


class RequestRow(Struct, frozen=True, kw_only=True):
    """A request that has ended."""

    time: str
    id: str
    operation: str
    model: str
    status: int
    failed: bool
    route: str
    reason: str
    tokens: str
    ttft: str
    total: str
    rate: str
    error: str


def page(request: HttpRequest) -> HttpResponse:
    return _answer(request, "status.html")


def live(request: HttpRequest) -> HttpResponse:
    """What changes: the page's script asks for it every other second."""
    engine.current().telemetry.watch()
    return _answer(request, "status/_live.html")


def _answer(request: HttpRequest, template: str) -> HttpResponse:
    address = f"{request.scheme}://{request.get_host()}"
    snapshot, models = engine.current().snapshot(), store.all_models()
    context = {
        "version": settings.VERSION,
        "address": address,
        "curl": banner.curl(address),
        "uptime": duration(snapshot.uptime_s),
        "snapshot": snapshot,
        "devices": [device_card(state, snapshot.readings.of(state.id)) for state in snapshot.devices],
        "power": power(snapshot.readings),
        "models": model_rows(snapshot, models, use.of(models)),
        "memory": memory(snapshot),
        "requests": [request_row(record) for record in snapshot.requests[:SHOWN_REQUESTS]],
    }
    response = render(request, template, context)
    for name, value in _SECURITY.items():
        response[name] = value
    return response


def device_card(state: DeviceState, found: DeviceReadings | None) -> DeviceCard:
    """What nobody measured is left out: an emulated NPU has no heat of its own."""
    if found is None or state.emulated:
        return DeviceCard(state=state, temperature="", power="", load="", warnings=())
    warnings = [f"slowed by {' and '.join(found.throttling.reasons)}"] if found.throttling.value else []
    warnings += ["asleep"] if found.asleep else []
    return DeviceCard(
        state=state,
        temperature=measured(found.temperature),
        power=measured(found.power),
        load=measured(found.utilisation),
        warnings=tuple(warning.replace("_", " ") for warning in warnings),
    )


def power(readings: Readings) -> tuple[tuple[str, str], ...]:
    """What the machine runs on, and its fans: what is known of it."""
    source = {True: "battery", False: "mains", None: ""}[readings.on_battery.value]
    shown = (
        ("runs on", source),
        ("battery", measured(readings.battery)),
        ("fans", measured(readings.mean_fan)),
    )
    return tuple((name, text) for name, text in shown if text)


def measured(reading: Reading) -> str:
    if reading.value is None:
        return ""
    return f"{reading.value:.1f} W" if reading.unit == WATT else f"{reading.value:.0f} {reading.unit}"


def model_rows(snapshot: Snapshot, models: list[ModelInfo], lives: Mapping[str, Life]) -> list[ModelRow]:
    """Loaded ones first, then by name."""
    rows = [
        ModelRow(
            name=info.name,
            kind=info.spec.kind,
            facts=_facts(info),
            capabilities=info.capabilities,
            workers=tuple(
                _worker(held, snapshot.time) for held in snapshot.models if held.digest == info.spec.digest
            ),
            history=_history(lives.get(info.name, Life()), snapshot.time),
        )
        for info in models
    ]
    return sorted(rows, key=lambda row: (not row.workers, row.name))


def _facts(info: ModelInfo) -> tuple[str, ...]:
    known = (
        f"{info.parameter_size} parameters" if info.parameter_size else "",
        info.quantization_level,
        size(info.spec.size_bytes),
        f"context {info.spec.context_length:,}" if info.spec.context_length else "",
    )
    return tuple(fact for fact in known if fact)


def _history(life: Life, now: float) -> tuple[str, ...]:
    lines = []
    for ran in life.ran:
        facts = (
            f"{ran.tokens_per_s:.0f} tokens/s" if ran.tokens_per_s else "",
            f"first token {duration(ran.ttft_s)}" if ran.ttft_s else "",
            f"load {duration(ran.load_s)}" if ran.load_s else "",
            f"{duration(max(1.0, now - ran.used_at.timestamp()))} ago",
        )
        lines.append(f"{ran.device}: {', '.join(fact for fact in facts if fact)}")
    lines += [f"compile cache for {cache.device}: {size(cache.size_bytes)}" for cache in life.caches]
    return tuple(lines)


def _worker(held: LoadedModel, now: float) -> WorkerRow:
    leaves = "stays" if held.expires_at is None else f"leaves in {duration(max(0.0, held.expires_at - now))}"
    return WorkerRow(
        device=held.device,
        executed=held.executed or "unknown",
        state=held.state,
        running=held.running,
        size=size(held.size_bytes),
        leaves=leaves if held.state == "ready" else "",
    )


def memory(snapshot: Snapshot) -> dict[str, str | int]:
    budget, used = snapshot.memory_budget_bytes, snapshot.memory_used_bytes
    return {
        "used": size(used),
        "budget": size(budget),
        "percent": min(100, round(100 * used / max(1, budget))),
    }


def request_row(record: RequestRecord) -> RequestRow:
    route = record.route
    decode_s = record.total_s - (record.ttft_s or 0.0)
    counted = record.completion_tokens > 1 and record.ttft_s is not None and decode_s > 0
    return RequestRow(
        time=datetime.fromtimestamp(record.time, UTC).astimezone().strftime("%H:%M:%S"),
        id=record.id,
        operation=record.operation,
        model=record.model or "–",
        status=record.status,
        failed=record.status >= 400,
        route=f"{route.requested} → {route.executed or route.routed}" if route else "–",
        reason=route.reason.replace("_", " ") if route else "",
        tokens=_tokens(record),
        ttft="–" if record.ttft_s is None else duration(record.ttft_s),
        total=duration(record.total_s),
        rate=f"{(record.completion_tokens - 1) / decode_s:.0f}" if counted else "–",
        error=record.error,
    )


def _tokens(record: RequestRecord) -> str:
    if not record.completion_tokens:
        return str(record.prompt_tokens or "–")
    return f"{record.prompt_tokens} → {record.completion_tokens}"


def size(count: float) -> str:
    """Bytes as people say them."""
    if count <= 0:
        return "unknown"
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds as people say them, with two figures that matter."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
