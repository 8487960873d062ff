"""What the router is asked for one request: the caller's wishes, the operator's settings, the mode, the devices."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from inference.backend import Backend
from inference.config import EngineConfig
from inference.device_names import chain, expanded, target
from inference.machine_state import heat
from inference.modes import Efficiency
from inference.profiles import Profiles
from inference.route_facts import Candidate, Facts
from inference.scoring import UNKNOWN
from inference.telemetry.readings import Readings
from inference.types import ChatRequest, EmbedRequest, LoadRequest, ModelSpec

Wanted = ChatRequest | EmbedRequest | LoadRequest
CHARS_A_TOKEN = 4
FEW_TEXTS = 3
"""Of one request: so many and fewer are embedded on the NPU, more on the CPU (routing-spec 10)."""


def question(
    config: EngineConfig,
    efficiency: Efficiency,
    readings: Readings,
    backends: Mapping[str, Backend],
    profiles: Profiles,
    spec: ModelSpec,
    request: Wanted,
    prompt_tokens: int,
    text_tokens: int = 0,
    others: tuple[Candidate, ...] = (),
    known: tuple[str, ...] = (),
) -> tuple[Facts, tuple[Candidate, ...]]:
    """What `routing.choose` is asked. Raises what `target` raises.

    `text_tokens`: of all texts to embed together; the gate of context bounds none of them. `others`: other servers that
    could answer, the best first. `known`: every name that a target may have.
    """
    chat = request if isinstance(request, ChatRequest) else None
    num_ctx, wishes = chat.num_ctx if chat else None, request.placement
    candidates = tuple([backend.candidate(spec, num_ctx) for backend in backends.values()])
    candidates = _measured(candidates, profiles, spec, request, prompt_tokens or text_tokens, readings)
    if chat is not None and chat.choices > 1:
        candidates = _at_once(candidates)
    there = tuple(candidate.device for candidate in candidates if candidate.available)
    device, order = config.device, chain(config.device, config.fallback_device)
    if spec.kind == "embedding":
        device = embedding_device(config, request, candidates)
        order = chain(device, "CPU")
        if config.embedding_device == "auto":
            candidates = tuple(_not_behind_answers(found, config.busy_wait_s) for found in candidates)
    others = _measured(others, profiles, spec, request, prompt_tokens or text_tokens or _guessed(chat))
    candidates += tuple(_with_heat(other, readings) for other in others)
    there += tuple(name for name in known if name not in backends)
    facts = Facts(
        prompt_tokens=prompt_tokens,
        preferred=() if spec.remote else expanded(order, there),
        target=target(wishes.device, known or tuple(backends), there),
        allowed=wishes.allowed,
        strict=wishes.strict,
        logprobs=chat is not None and chat.logprobs,
        busy_wait_s=config.busy_wait_s,
        remote=wishes.remote and not spec.local_only,
        remote_forbidden_by=" and ".join(wishes.kept_by + _keepers(spec)),
        stored_mode=efficiency.stored,
        mode=efficiency.now.mode,
        mode_by_battery=efficiency.now.battery,
        scored=config.measured_routing or device == "AUTO",
        latency_critical=wishes.latency_critical,
        power_efficient=wishes.power_efficient,
        max_latency_s=None if wishes.max_latency_ms is None else wishes.max_latency_ms / 1000,
        max_watts=wishes.max_watts,
    )
    return facts, candidates


def _guessed(chat: ChatRequest | None) -> int:
    """For a time that is only estimated: tokens of a prompt whose tokenizer is not here."""
    return sum(len(message.content) for message in chat.messages) // CHARS_A_TOKEN if chat else 0


def _keepers(spec: ModelSpec) -> tuple[str, ...]:
    return (f"the setting of {spec.name}",) if spec.local_only else ()


def _with_heat(other: Candidate, readings: Readings) -> Candidate:
    """A server on this machine has this machine's readings of its class."""
    here = next((found.id for found in readings.devices if found.kind == other.kind), "")
    return structs.replace(other, readings=heat(readings, here)) if other.loopback and here else other


def _measured(
    candidates: tuple[Candidate, ...],
    profiles: Profiles,
    spec: ModelSpec,
    request: Wanted,
    tokens: int,
    readings: Readings | None = None,
) -> tuple[Candidate, ...]:
    """With the times and watts that were measured of this model, where enough was, and of devices of this machine with
    their heat (`readings`)."""
    output = 0.0
    if isinstance(request, ChatRequest):
        output = profiles.expected_output(spec, request.sampling.max_tokens or spec.parameters.max_tokens)
    measured = []
    for candidate in candidates:
        hot = UNKNOWN if readings is None else heat(readings, candidate.device)
        found = None if isinstance(request, LoadRequest) else profiles.find(spec, candidate.device)
        if found is not None:
            candidate = structs.replace(
                candidate,
                readings=hot,
                expected_s=found.expected_s(tokens, output),
                expected_watts=found.watts.known,
            )
        elif hot is not UNKNOWN:
            candidate = structs.replace(candidate, readings=hot)
        measured.append(candidate)
    return tuple(measured)


def embedding_device(config: EngineConfig, request: Wanted, candidates: tuple[Candidate, ...]) -> str:
    """Where texts are wanted: a few on the NPU, many on the CPU, until the times of every device are known."""
    if config.embedding_device != "auto":
        return config.embedding_device
    times = {
        found.device: found.expected_s for found in candidates if found.available and not found.incapable
    }
    measured = {device: seconds for device, seconds in times.items() if seconds is not None}
    if times and len(measured) == len(times):
        return min(measured, key=measured.__getitem__)
    texts = len(request.ids or request.texts) if isinstance(request, EmbedRequest) else 0
    has_npu = any(candidate.kind == "npu" and candidate.available for candidate in candidates)
    return "NPU" if has_npu and texts <= FEW_TEXTS else "CPU"


def _not_behind_answers(candidate: Candidate, busy_wait_s: float) -> Candidate:
    """A device at work is passed over by texts that may go elsewhere: what it does may be a long answer."""
    if not candidate.wait_s:
        return candidate
    return structs.replace(candidate, wait_s=busy_wait_s + candidate.wait_s)


def _at_once(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Without the NPUs where another device can take several answers together."""
    alone = "it gives one answer at a time, and several were asked for"
    able = [found for found in candidates if found.kind != "npu" and found.available and not found.incapable]
    if not able:
        return candidates
    return tuple(
        structs.replace(found, incapable=found.incapable or alone) if found.kind == "npu" else found
        for found in candidates
    )
