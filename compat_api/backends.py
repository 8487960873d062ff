"""GET /backends: the devices of this machine and the other servers, in one list: how each is and what it is taken for.

Of another server no more than its host is told, and nothing of its key. Unknown is null.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response

from compat_api.thermal import device_readings
from compat_api.wire_view import WireView
from inference import engine
from inference.device_names import kind_of
from inference.remote import RemoteSpec
from inference.scoring import ASSUMED
from inference.states import DeviceState, Snapshot
from registry import backends as rows


class BackendsView(WireView):
    def get(self, request: Request) -> Response:
        """The caller's key may not allow all of them; the list is the machine's."""
        snapshot = engine.current().snapshot()
        return Response(shown(snapshot, rows.followed(), time.monotonic()))


def shown(snapshot: Snapshot, servers: dict[str, RemoteSpec], now: float) -> list[dict[str, Any]]:
    """Devices first. `now`: time.monotonic()."""
    here = [_device(state, snapshot, now) for state in snapshot.devices if state.local]
    away = [_server(state, servers.get(state.id)) for state in snapshot.devices if not state.local]
    return here + away


def _device(state: DeviceState, snapshot: Snapshot, now: float) -> dict[str, Any]:
    kind = state.kind or kind_of(state.id, state.full_name)
    readings = None if state.emulated else snapshot.readings.of(state.id)
    breakers = {found.state for found in snapshot.breakers if found.device == state.id}
    loaded = [held.name for held in snapshot.models if held.device == state.id and held.state == "ready"]
    return {
        **_both(state, kind),
        "type": "local",
        "host": None,
        "fault": None if state.available else "the runtime does not see it",
        "models_offered": None,
        "models_loaded": len(loaded),
        "breaker": next((name for name in ("open", "half_open") if name in breakers), "closed"),
        "characteristics": _characteristics(state.id, kind, {}),
        "driver": state.driver or None,
        "memory_bytes": state.memory_bytes,
        "readings": device_readings(readings, now) if readings else None,
    }


def _server(state: DeviceState, spec: RemoteSpec | None) -> dict[str, Any]:
    given: dict[str, float] = {}
    if spec is not None:
        said = {
            "power_watts": spec.watts,
            "avg_latency_ms": None if spec.latency_s is None else spec.latency_s * 1000,
            "max_tokens_per_second": spec.tokens_per_s,
            "priority": spec.priority,
        }
        given = {name: value for name, value in said.items() if value is not None}
    return {
        **_both(state, state.kind),
        "type": state.protocol,
        "host": urlsplit(spec.url).netloc if spec else None,
        "fault": state.fault or None,
        "models_offered": len(state.models) if state.healthy else None,
        "models_loaded": None,
        "breaker": state.breaker,
        "characteristics": _characteristics(state.id, state.kind, given),
        "driver": None,
        "memory_bytes": None,
        "readings": None,
    }


def _both(state: DeviceState, kind: str) -> dict[str, Any]:
    return {
        "id": state.id,
        "name": state.full_name,
        "class": kind,
        "healthy": state.available and state.healthy,
        "emulated": state.emulated,
        "state": {"running": state.running, "waiting": state.waiting, "slots": state.slots or None},
    }


def _characteristics(id: str, kind: str, given: dict[str, float]) -> dict[str, Any]:
    """What is assumed of its class, what the operator gave instead, and what was measured of each model there."""
    assumed = ASSUMED[kind]
    return {
        "assumed": {
            "power_watts": assumed.watts,
            "avg_latency_ms": assumed.latency_s * 1000,
            "priority": assumed.priority,
        },
        "given": given or None,
        "measured": [msgspec.to_builtins(one) for one in engine.current().profiles.of(id)] or None,
    }
