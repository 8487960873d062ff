"""GET /health, /health/devices, liveness and readiness: what the engine's snapshot says. Nothing is loaded, no device
is asked, no query is made, and no local path is told.
"""

from __future__ import annotations

import time
from typing import Any

import psutil
from django.conf import settings
from django.http import HttpResponse
from msgspec import structs
from rest_framework.request import Request
from rest_framework.response import Response

from compat_api import readiness
from compat_api.readiness import WARM_UP, Finding
from compat_api.thermal import device_readings
from compat_api.wire_view import WireView
from inference import engine
from inference.device_names import kind_of
from inference.states import DeviceState, LoadedModel, Snapshot
from registry import watching

RETRY_AFTER_S = 2


class LivenessView(WireView):
    """The process turns."""

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse("ok", content_type="text/plain", headers={"Cache-Control": "no-store"})


class ReadinessView(WireView):
    """503 while a request would not be answered now."""

    def get(self, request: Request) -> Response:
        snapshot = engine.current().snapshot()
        why = readiness.reasons(snapshot, WARM_UP.loading)
        body = {
            "status": "unavailable" if why else "ok",
            "ready": not why,
            "reasons": _shown(why),
            "warnings": _shown(_warnings(snapshot)),
        }
        headers = {"Cache-Control": "no-store"}
        if why:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        return Response(body, 503 if why else 200, headers=headers)


class HealthView(WireView):
    """200 whatever it says: who wants a status asks for readiness."""

    def get(self, request: Request) -> Response:
        return Response(health(engine.current().snapshot()), headers={"Cache-Control": "no-store"})


class DevicesView(WireView):
    def get(self, request: Request) -> Response:
        snapshot = engine.current().snapshot()
        shown = {
            "status": status(snapshot),
            "devices": [_with_work(state, snapshot) for state in snapshot.devices],
        }
        return Response(shown, headers={"Cache-Control": "no-store"})


VIEWS: dict[str, type[WireView]] = {
    "healthz": LivenessView,
    "liveness": LivenessView,
    "readyz": ReadinessView,
    "readiness": ReadinessView,
    "health": HealthView,
    "health.devices": DevicesView,
}
"""By operation name."""


def status(snapshot: Snapshot) -> str:
    """ok, degraded or unavailable."""
    if readiness.reasons(snapshot, WARM_UP.loading):
        return "unavailable"
    return "degraded" if _warnings(snapshot) else "ok"


def health(snapshot: Snapshot) -> dict[str, Any]:
    why = readiness.reasons(snapshot, WARM_UP.loading)
    return {
        "status": status(snapshot),
        "ready": not why,
        "reasons": _shown(why),
        "warnings": _shown(_warnings(snapshot)),
        "version": settings.VERSION,
        "uptime_s": round(snapshot.uptime_s, 3),
        "runtime": {"state": snapshot.runtime, "openvino": snapshot.openvino or None},
        "npu": _npu(snapshot),
        "devices": [_device(state) for state in snapshot.devices],
        "pool": _pool(snapshot),
        "memory": _memory(snapshot),
    }


def _warnings(snapshot: Snapshot) -> tuple[Finding, ...]:
    return readiness.warnings(snapshot, WARM_UP.failed, watching.database_is_away())


def _shown(findings: tuple[Finding, ...]) -> list[dict[str, str]]:
    return [structs.asdict(finding) for finding in findings]


def _npu(snapshot: Snapshot) -> str:
    """available, emulated, absent; unknown until the runtime has named its devices."""
    here = [state for state in snapshot.devices if state.local]
    if not here:
        return "unknown"
    npus = [state for state in here if state.id.startswith("NPU")]
    if not npus:
        return "absent"
    return "emulated" if all(state.emulated for state in npus) else "available"


def _device(state: DeviceState) -> dict[str, Any]:
    return {
        "id": state.id,
        "name": state.full_name,
        "class": kind_of(state.id, state.full_name) if state.local else state.kind,
        "local": state.local,
        "available": state.available,
        "emulated": state.emulated,
        "slots": state.slots,
        "running": state.running,
        "waiting": state.waiting,
    }


def _with_work(state: DeviceState, snapshot: Snapshot) -> dict[str, Any]:
    """With its models, its breakers and what was last measured of it; an emulated NPU has no heat of its own."""
    found = None if state.emulated else snapshot.readings.of(state.id)
    return {
        **_device(state),
        "models": [_model(model) for model in snapshot.models if model.device == state.id],
        "breakers_open": sum(
            breaker.device == state.id and breaker.state == "open" for breaker in snapshot.breakers
        ),
        "embedding_cache": {"hits": state.cache_hits, "misses": state.cache_misses},
        "readings": device_readings(found, time.monotonic()) if found else None,
    }


def _pool(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "models": [_model(model) for model in snapshot.models],
        "ready": sum(model.state == "ready" for model in snapshot.models),
        "loading": sum(model.state == "loading" for model in snapshot.models),
        "running": sum(state.running for state in snapshot.devices),
        "waiting": sum(state.waiting for state in snapshot.devices),
    }


def _model(model: LoadedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "device": model.device,
        "executed": model.executed or None,
        "state": model.state,
        "running": model.running,
        "size_bytes": model.size_bytes,
        "context_length": model.context_length,
        "pinned": model.pinned,
    }


def _memory(snapshot: Snapshot) -> dict[str, int]:
    """Bytes: what models may take and do take, as budgeted; this process; the machine."""
    machine = psutil.virtual_memory()
    return {
        "budget_bytes": snapshot.memory_budget_bytes,
        "used_bytes": snapshot.memory_used_bytes,
        "server_bytes": psutil.Process().memory_info().rss,
        "machine_bytes": machine.total,
        "machine_available_bytes": machine.available,
    }
