"""What the endpoints of health answer, as types for the document; as native_answers.py has it for the others."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from compat_api.readiness import Finding


class Readiness(Struct):
    status: Literal["ok", "unavailable"]
    ready: bool
    reasons: list[Finding]
    warnings: list[Finding]


class HealthDevice(Struct, kw_only=True):
    id: str
    name: str
    kind: str = field(name="class")
    local: bool
    available: bool
    emulated: bool
    slots: int
    running: int
    waiting: int


class HealthModel(Struct):
    name: str
    device: str
    executed: str | None
    state: str
    running: int
    size_bytes: int
    context_length: int
    pinned: bool


class CacheHits(Struct):
    hits: int
    misses: int


class HealthDeviceWithWork(HealthDevice, kw_only=True):
    models: list[HealthModel]
    breakers_open: int
    embedding_cache: CacheHits
    readings: dict[str, Any] | None


class HealthDevices(Struct):
    status: Literal["ok", "degraded", "unavailable"]
    devices: list[HealthDeviceWithWork]


class Pool(Struct):
    models: list[HealthModel]
    ready: int
    loading: int
    running: int
    waiting: int


class Memory(Struct):
    budget_bytes: int
    used_bytes: int
    server_bytes: int
    machine_bytes: int
    machine_available_bytes: int


class Runtime(Struct):
    state: Literal["starting", "running", "failed"]
    openvino: str | None


class Health(Struct):
    status: Literal["ok", "degraded", "unavailable"]
    ready: bool
    reasons: list[Finding]
    warnings: list[Finding]
    version: str
    uptime_s: float
    runtime: Runtime
    npu: Literal["available", "emulated", "absent", "unknown"]
    devices: list[HealthDevice]
    pool: Pool
    memory: Memory
