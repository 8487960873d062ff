"""One frozen picture of the engine: the page, /api/ps and the log read the same one, so they cannot disagree."""

from __future__ import annotations

import time

from inference.backend import Backend
from inference.held import Held
from inference.in_flight import IN_FLIGHT
from inference.pool import Pool
from inference.states import LoadedModel, RequestRecord, Snapshot
from inference.telemetry.sampler import Sampler
from inference.types import FOREVER


def take(
    began: float,
    backends: tuple[Backend, ...],
    pool: Pool,
    records: tuple[RequestRecord, ...],
    telemetry: Sampler,
    draining: bool,
) -> Snapshot:
    """From any thread. `began`: Unix time of the engine's start; `records`: the most recent first."""
    now = time.time()
    devices = tuple(backend.state() for backend in backends)
    return Snapshot(
        time=now,
        uptime_s=now - began,
        devices=devices,
        models=tuple(loaded_model(held) for held in pool.held()),
        memory_budget_bytes=pool.room.total,
        memory_used_bytes=pool.used_bytes(),
        requests=records,
        running=IN_FLIGHT.shown(),
        refused=pool.history.refused(),
        breakers=pool.history.breakers(),
        readings=telemetry.readings(),
        runtime="running"
        if any(one.local for one in devices)
        else "failed"
        if pool.spare.failed
        else "starting",
        openvino=pool.spare.openvino,
        draining=draining,
    )


def loaded_model(held: Held) -> LoadedModel:
    """While requests run, a model expires its keep_alive from now."""
    expires_at = held.expires_at
    if held.users or not held.is_ready:
        expires_at = None if held.pinned or held.keep_alive_s == FOREVER else time.time() + held.keep_alive_s
    return LoadedModel(
        name=held.names[0],
        digest=held.spec.digest,
        device=held.device,
        executed=held.executed,
        state="ready" if held.is_ready else "loading",
        size_bytes=held.plan.cost_bytes,
        context_length=held.plan.limit_tokens,
        expires_at=expires_at,
        pid=held.worker.process.pid if held.worker is not None else 0,
        running=held.users,
        load_s=held.load_s,
        names=held.names,
        pinned=held.pinned,
        load_key=held.spec.load_key,
    )
