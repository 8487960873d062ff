"""Which device answers: `choose()` is pure, so every rule here is a line in a table of the tests.

The chain (routing-spec 2.5a): the preferred device, the operator's fallback, NPU, GPU, CPU, in this order, the first
that has the model's capability, room for the prompt, a closed breaker, and can answer before `busy_wait_s`. When none
can in that time, the one with the least wait. The rest stays in the list: what fails before its first token is
followed by the next.
"""

from __future__ import annotations

from msgspec import Struct

from inference.errors import (
    BadRequest,
    BreakerOpen,
    ContextLengthExceeded,
    DeviceUnavailable,
    InferenceError,
    NotAllowed,
)
from inference.types import Route

CHAIN = ("NPU", "GPU", "CPU")


class Candidate(Struct, frozen=True, kw_only=True):
    """What the router must know of one device for one request."""

    device: str
    available: bool = True
    """False: the runtime does not see it."""
    incapable: str = ""
    """Why it never runs this model, in words that follow its name; '' where it can."""
    limit_tokens: int = 0
    """Prompt and one new token must fit: min(compiled length, context, KV pool)."""
    ready: bool = True
    """The model is loaded there."""
    wait_s: float = 0.0
    """Expected wait for a slot."""
    load_s: float = 0.0
    """Expected rest of the load; 0 when ready."""
    fits_memory: bool = True
    """Ready, or loadable without unloading the copy of the same model that is in use elsewhere."""
    breaker_s: float = 0.0
    """Seconds until the breaker lets a try through."""
    load_failed: str = ""
    """Message of a recent failed load."""
    logprobs: bool = True
    """It gives a log probability with each token."""


class Facts(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    preferred: tuple[str, ...]
    """The chain, most wanted first, all names as OpenVINO spells them."""
    target: str = ""
    """The caller's own wish; '' for none."""
    allowed: tuple[str, ...] = ()
    """What the caller's key allows; () is every device."""
    strict: bool = False
    logprobs: bool = False
    """Log probabilities are wanted."""
    busy_wait_s: float = 2.0


class Choice(Struct, frozen=True, kw_only=True):
    device: str
    reason: str
    fallback_reason: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """Devices in the order in which they are tried, and what may be loaded meanwhile."""

    requested: str
    choices: tuple[Choice, ...]
    load_in_background: str = ""


def chain(device: str, fallback: str) -> tuple[str, ...]:
    """NPU_PROXY_DEVICE, NPU_PROXY_FALLBACK_DEVICE, then NPU, GPU, CPU; each once. AUTO leaves the usual order."""
    first = "NPU" if device == "AUTO" else device
    return tuple(dict.fromkeys(name for name in (first, fallback, *CHAIN) if name))


def choose(facts: Facts, candidates: tuple[Candidate, ...]) -> Plan:
    """Raises ContextLengthExceeded, BreakerOpen or DeviceUnavailable when no device can be tried, NotAllowed, and
    BadRequest for log probabilities where no device gives them."""
    by_name = {candidate.device: candidate for candidate in candidates}
    order = _allowed(facts, tuple(by_name))
    faults: dict[str, str] = {}
    usable: list[Candidate] = []
    for name in order:
        candidate = by_name.get(name)
        fault = "device_unavailable" if candidate is None else _fault(candidate, facts)
        if fault:
            faults[name] = fault
        elif candidate is not None:
            usable.append(candidate)
    if facts.target and facts.strict and facts.target in faults:
        wanted = by_name.get(facts.target)
        can = wanted is not None and wanted.available and not wanted.incapable
        if wanted is not None and can and facts.prompt_tokens + 1 > wanted.limit_tokens:
            raise ContextLengthExceeded(facts.prompt_tokens, wanted.limit_tokens)
        if wanted is not None and wanted.available and facts.logprobs and not wanted.logprobs:
            raise _no_logprobs(facts.target)
        why = faults[facts.target].replace("_", " ")
        if wanted is not None and why == "load failed":
            why += f": {wanted.load_failed}"
        elif wanted is not None and wanted.incapable:
            why = wanted.incapable
        raise DeviceUnavailable(f"{facts.target} cannot answer now: {why}")
    if not usable:  # a failed load is tried again when nothing else is left
        usable = [by_name[name] for name, fault in faults.items() if fault == "load_failed"]
    if not usable:
        raise _nothing_left(facts, tuple(by_name[name] for name in order if name in by_name))
    if facts.strict and facts.target:
        usable = usable[:1]
    return _ordered(facts, order[0], usable, faults)


def _allowed(facts: Facts, known: tuple[str, ...]) -> tuple[str, ...]:
    """The devices to look at, most wanted first. What the caller's key forbids is no candidate; what it names is one,
    be it in the chain or not. Raises NotAllowed."""
    order = tuple(dict.fromkeys((facts.target, *facts.preferred) if facts.target else facts.preferred))
    if not facts.allowed:
        return order
    every = dict.fromkeys((*order, *known))
    permitted = tuple(name for name in every if any(_covers(entry, name) for entry in facts.allowed))
    if not permitted or (facts.target and facts.target not in permitted):
        wanted = facts.target or ", ".join(order)
        raise NotAllowed(f"this API key does not allow {wanted}; it allows {', '.join(facts.allowed)}")
    return permitted


def _covers(entry: str, device: str) -> bool:
    """GPU stands for GPU.0 and GPU.1 as well; where there is one alone, GPU.0 is GPU."""
    return device == entry or device.startswith(f"{entry}.") or entry == f"{device}.0"


def _fault(candidate: Candidate, facts: Facts) -> str:
    if not candidate.available:
        return "device_unavailable"
    if candidate.incapable:
        return "capability"
    if facts.prompt_tokens + 1 > candidate.limit_tokens:
        return "prompt_exceeds_npu_limit" if candidate.device.startswith("NPU") else "capability"
    if facts.logprobs and not candidate.logprobs:
        return "capability"
    if candidate.breaker_s > 0:
        return "crashed"
    if candidate.load_failed:
        return "load_failed"
    return ""


def _nothing_left(facts: Facts, candidates: tuple[Candidate, ...]) -> InferenceError:
    """The fault that the caller can do something about, of the devices that exist."""
    real = [candidate for candidate in candidates if candidate.available and not candidate.incapable]
    if not real:
        for candidate in candidates:
            if candidate.incapable:
                return DeviceUnavailable(f"{candidate.device} cannot answer: {candidate.incapable}")
        bound = f" of those that this API key allows ({', '.join(facts.allowed)})" if facts.allowed else ""
        return DeviceUnavailable(f"no inference device{bound} is available")
    able = [candidate for candidate in real if candidate.logprobs or not facts.logprobs]
    if not able:
        return _no_logprobs(", ".join(candidate.device for candidate in real))
    limit = max(candidate.limit_tokens for candidate in able)
    if facts.prompt_tokens + 1 > limit:
        return ContextLengthExceeded(facts.prompt_tokens, limit)
    opened = [candidate.breaker_s for candidate in able if candidate.breaker_s > 0]
    return BreakerOpen("the model's worker crashed repeatedly; it gets another try shortly", min(opened))


def _no_logprobs(devices: str) -> BadRequest:
    """The static pipeline tells the sum over an answer at its end, and nothing of a token (openvino-facts 4)."""
    return BadRequest(
        f'"logprobs": the pipeline of {devices} gives no log probabilities of tokens; leave the field out, or let '
        "another device answer",
        "logprobs",
    )


def _ordered(facts: Facts, wanted: str, usable: list[Candidate], faults: dict[str, str]) -> Plan:
    def delay_s(candidate: Candidate) -> float:
        return candidate.wait_s + candidate.load_s

    quick = [c for c in usable if delay_s(c) <= facts.busy_wait_s and (c.ready or c.fits_memory)]
    first = quick[0] if quick else min(usable, key=delay_s)
    if facts.target and usable[0].device == facts.target:
        first = usable[0]  # the caller named it: waiting for it is what was asked for
    in_order = [first, *(c for c in usable if c is not first)]
    left_behind = usable[: usable.index(first)]
    background = next((c.device for c in left_behind if not c.ready and c.load_s > 0 and c.fits_memory), "")
    fallback = "" if first.device == wanted else faults.get(wanted) or _why_left(left_behind)
    choices = tuple(
        Choice(device=c.device, reason=_reason(facts, c, fallback), fallback_reason=fallback)
        for c in in_order
    )
    return Plan(requested=wanted, choices=choices, load_in_background=background)


def _why_left(left_behind: list[Candidate]) -> str:
    return "compiling" if left_behind and left_behind[0].load_s > 0 else "busy"


def _reason(facts: Facts, chosen: Candidate, fallback: str) -> str:
    if facts.target:
        return "target_unavailable" if fallback else "target"
    if fallback:
        return fallback
    return "within_npu_limit" if chosen.device.startswith("NPU") else "preferred"


def route(plan: Plan, choice: Choice, failed: str) -> Route:
    """What the reply says. `failed`: why the device before this one was left, when it failed."""
    return Route(
        requested=plan.requested, routed=choice.device, executed="", reason=failed or choice.reason,
        fallback_reason=failed or choice.fallback_reason,
        alternatives=tuple(other.device for other in plan.choices if other is not choice),
    )  # fmt: skip


def resolve_device(name: str, known: tuple[str, ...]) -> str:
    """`GPU` and `NPU` mean the first of their kind where the runtime numbers them."""
    if name in known:
        return name
    return next((device for device in known if device.startswith(f"{name}.")), name)


def target(wish: str, known: tuple[str, ...]) -> str:
    """The device the caller named. Raises BadRequest for a name that no device can have."""
    if not wish:
        return ""
    name = resolve_device(wish.upper(), known)
    if name not in known and name.partition(".")[0] not in CHAIN:
        raise BadRequest(f"unknown device '{wish}'; known here: {', '.join(known)}", "device")
    return name
