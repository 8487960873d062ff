"""What the router is asked for one request: the caller's wishes, the operator's settings, the mode, the devices."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from inference import routing
from inference.backend import Backend
from inference.config import EngineConfig
from inference.device_names import chain, resolve_device, target
from inference.machine_state import heat
from inference.modes import Efficiency
from inference.route_facts import Facts, Plan
from inference.telemetry.readings import Readings
from inference.types import ChatRequest, EmbedRequest, LoadRequest, ModelSpec


def plan(
    config: EngineConfig,
    efficiency: Efficiency,
    readings: Readings,
    backends: Mapping[str, Backend],
    spec: ModelSpec,
    request: ChatRequest | EmbedRequest | LoadRequest,
    prompt_tokens: int,
) -> Plan:
    """Raises what `routing.choose` and `target` raise."""
    chat = request if isinstance(request, ChatRequest) else None
    num_ctx, wishes = chat.num_ctx if chat else None, request.placement
    candidates = tuple(
        structs.replace(backend.candidate(spec, num_ctx), readings=heat(readings, name))
        for name, backend in backends.items()
    )
    names = tuple(backends)
    facts = Facts(
        prompt_tokens=prompt_tokens,
        preferred=tuple(dict.fromkeys(resolve_device(name, names) for name in _chain(config, spec))),
        target=target(wishes.device, names),
        allowed=wishes.allowed,
        strict=wishes.strict,
        logprobs=chat is not None and chat.logprobs,
        busy_wait_s=config.busy_wait_s,
        stored_mode=efficiency.stored,
        mode=efficiency.now.mode,
        mode_by_battery=efficiency.now.battery,
        scored=config.measured_routing or _device(config, spec) == "AUTO",
        latency_critical=wishes.latency_critical,
        power_efficient=wishes.power_efficient,
        max_latency_s=None if wishes.max_latency_ms is None else wishes.max_latency_ms / 1000,
        max_watts=wishes.max_watts,
    )
    return routing.choose(facts, candidates)


def _device(config: EngineConfig, spec: ModelSpec) -> str:
    return config.device if spec.kind == "chat" else config.embedding_device


def _chain(config: EngineConfig, spec: ModelSpec) -> tuple[str, ...]:
    if spec.kind == "chat":
        return chain(config.device, config.fallback_device)
    pinned = config.embedding_device
    return chain("CPU" if pinned == "auto" else pinned, "CPU")
