"""The devices of this machine and the other servers as messages: what `GET /backends` says of them."""

from __future__ import annotations

import time
from statistics import mean
from typing import Any, Final

from compat_api.backends import shown
from inference.states import DeviceState, Snapshot
from npuproxy.grpc import ollama_proxy_pb2 as pb
from registry import backends as rows

MINUTE_S: Final = 60.0


def listed(now: Snapshot, wanted: str) -> pb.ListBackendsResponse:
    """`wanted`: a type, or '' for all."""
    states = {state.id: state for state in now.devices}
    found = shown(now, rows.followed(), time.monotonic())
    return pb.ListBackendsResponse(
        backends=[_backend(one, states[one["id"]], now) for one in found if wanted in ("", one["type"])]
    )


def _backend(one: dict[str, Any], state: DeviceState, now: Snapshot) -> pb.Backend:
    loaded = [name for model in now.models if model.device == state.id for name in model.names]
    models = loaded if state.local else list(state.models)
    contexts = [model.context_length for model in now.models if model.device == state.id]
    return pb.Backend(
        id=state.id,
        type=one["type"],
        name=one["name"],
        hardware=one["class"],
        status=pb.BackendStatus(
            state="healthy" if one["healthy"] else "offline",
            message=one["fault"],
            last_check_unix=int(now.time),
        ),
        capabilities=pb.BackendCapabilities(
            generate=True, embed=True, stream=True, models=models, max_context=max(contexts, default=0)
        ),
        metrics=_metrics(one, state, now, loaded),
        emulated=state.emulated,
    )


def _metrics(one: dict[str, Any], state: DeviceState, now: Snapshot, loaded: list[str]) -> pb.BackendMetrics:
    recent = [
        record
        for record in now.requests
        if record.route and record.route.routed == state.id and now.time - record.time < MINUTE_S
    ]
    return pb.BackendMetrics(
        avg_latency_ms=round(mean(record.total_s for record in recent) * 1000) if recent else None,
        requests_per_minute=len(recent),
        error_rate=mean(record.status >= 500 for record in recent) if recent else None,
        power_watts=_reading(one, "power"),
        celsius=_reading(one, "temperature"),
        loaded_models=loaded,
        slots=state.slots,
        running=state.running,
        waiting=state.waiting,
    )


def _reading(one: dict[str, Any], name: str) -> float | None:
    reading = (one["readings"] or {}).get(name)
    return reading["value"] if reading else None
