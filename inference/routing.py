"""Which device answers: `choose()` is pure, so every rule here is a line in a table of the tests (routing-spec 2).

    who can       the runtime sees it, the prompt fits, the breaker is closed, the caller's key allows it
    within limits the request's, the mode's, and what heat the device bears; the least excess where nobody is
    chain         the preferred device, the operator's fallback, NPU, GPU, CPU, other servers: the first that can
                  begin within `busy_wait_s`, else the one with the least wait. Without a hint, in Auto and Balanced
    score         by time and power (`inference.scoring`), for everything else

What is left stays in the list: a device that fails before its first token is followed by the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from inference.errors import (
    BadRequest,
    BreakerOpen,
    CapabilityMissing,
    ContextLengthExceeded,
    DeviceUnavailable,
    InferenceError,
    NotAllowed,
)
from inference.route_facts import CHAINED, Candidate, Choice, Facts, Plan, Route
from inference.scoring import ASSUMED, UNKNOWN, Cost, Excess, Limits, excess, score, weighing


def choose(facts: Facts, candidates: tuple[Candidate, ...]) -> Plan:
    """Raises ContextLengthExceeded, BreakerOpen or DeviceUnavailable when no device can be tried, NotAllowed, and
    BadRequest for log probabilities where no device gives them."""
    candidates = _at_home(facts, candidates)
    by_name = {candidate.device: candidate for candidate in candidates}
    order = _allowed(facts, tuple(by_name))
    faults: dict[str, str] = {}
    usable: list[Candidate] = []
    for name in order:
        candidate = by_name.get(name)
        if candidate is None:
            faults[name] = "device_unavailable"
        elif fault := fault_of(candidate, facts):
            faults[name] = fault
        else:
            usable.append(candidate)
    if facts.target and facts.strict and facts.target in faults:
        raise _target_refused(facts, by_name.get(facts.target), faults[facts.target])
    failing = not usable
    if failing:  # a failed load is tried again when nothing else is left
        usable = [by_name[name] for name, fault in faults.items() if fault == "load_failed"]
    if not usable:
        raise _nothing_left(facts, tuple(by_name[name] for name in order if name in by_name))
    if facts.strict and facts.target:
        usable = [candidate for candidate in usable if candidate.device == facts.target]
    plan = _within_limits(facts, order[0], usable, faults)
    return structs.replace(plan, nobody="does_not_fit") if failing else plan


def _at_home(facts: Facts, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Without other servers where the request may not leave this machine. No other rule can bring them back."""
    if facts.remote:
        return candidates
    here = tuple(candidate for candidate in candidates if candidate.local)
    away = [candidate.device for candidate in candidates if not candidate.local]
    if away and (not here or facts.target in away):
        named = (facts.target,) if facts.target in away else away
        what = "is another server" if len(named) == 1 else "are other servers"
        raise NotAllowed(
            f"this request is kept on this machine by {facts.remote_forbidden_by}, and {', '.join(named)} {what}"
        )
    return here


def _target_refused(facts: Facts, wanted: Candidate | None, fault: str) -> InferenceError:
    why = (wanted.fault if wanted is not None else "") or fault.replace("_", " ")
    if wanted is not None and wanted.available:
        if not wanted.incapable and facts.prompt_tokens + 1 > wanted.limit_tokens:
            return ContextLengthExceeded(facts.prompt_tokens, wanted.limit_tokens, limits=limits([wanted]))
        if facts.logprobs and not wanted.logprobs:
            return _no_logprobs(facts.target)
        if fault == "load_failed":
            why += f": {wanted.load_failed}"
        why = wanted.incapable or why
    return DeviceUnavailable(f"{facts.target} cannot answer now: {why}")


def _allowed(facts: Facts, known: tuple[str, ...]) -> tuple[str, ...]:
    """The devices to look at, most wanted first. What the caller's key forbids is no candidate; what it names is one,
    be it in the chain or not. Raises NotAllowed."""
    wanted_first = (facts.target, *facts.preferred) if facts.target else facts.preferred
    order = tuple(dict.fromkeys((*wanted_first, *known)))
    if not facts.allowed:
        return order
    permitted = tuple(name for name in order if any(_covers(entry, name) for entry in facts.allowed))
    if not permitted or (facts.target and facts.target not in permitted):
        wanted = facts.target or ", ".join(order)
        raise NotAllowed(f"this API key does not allow {wanted}; it allows {', '.join(facts.allowed)}")
    return permitted


def _covers(entry: str, device: str) -> bool:
    """GPU stands for GPU.0 and GPU.1 as well; where there is one alone, GPU.0 is GPU. Other servers, whose names are in
    lower case, are what they are called: 'box' says nothing of 'box.2'."""
    family = device.isupper() and (device.startswith(f"{entry}.") or entry == f"{device}.0")
    return device == entry or family


def limits(candidates: Iterable[Candidate], allowed: tuple[str, ...] = ()) -> dict[str, int]:
    """Tokens that each holds, of those that hold any; without those that the caller's key forbids, if it allows any."""
    held = {candidate.device: candidate.limit_tokens for candidate in candidates if candidate.limit_tokens}
    permitted = {
        device: most for device, most in held.items() if any(_covers(entry, device) for entry in allowed)
    }
    return permitted or held


def fault_of(candidate: Candidate, facts: Facts) -> str:
    """Why it cannot be asked, in a word; '' where it can."""
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
            if candidate.incapable and not candidate.local:
                return CapabilityMissing(f"{candidate.device} {candidate.incapable}")
            if candidate.incapable:
                return DeviceUnavailable(f"{candidate.device} cannot answer: {candidate.incapable}")
        if faults := [f"{c.device}: {c.fault}" for c in candidates if c.fault]:
            return DeviceUnavailable(f"no server can answer now: {'; '.join(faults)}", 5.0)
        bound = f" of those that this API key allows ({', '.join(facts.allowed)})" if facts.allowed else ""
        return DeviceUnavailable(f"no inference device{bound} is available")
    able = [candidate for candidate in real if candidate.logprobs or not facts.logprobs]
    if not able:
        return _no_logprobs(", ".join(candidate.device for candidate in real))
    limit = max(candidate.limit_tokens for candidate in able)
    if facts.prompt_tokens + 1 > limit:
        return ContextLengthExceeded(facts.prompt_tokens, limit, limits=limits(able))
    opened = [candidate.breaker_s for candidate in able if candidate.breaker_s > 0]
    if not any(candidate.local for candidate in able):
        servers = ", ".join(candidate.device for candidate in able)
        return BreakerOpen(f"{servers} failed repeatedly and gets another try shortly", min(opened))
    return BreakerOpen("the model's worker crashed repeatedly; it gets another try shortly", min(opened))


def _no_logprobs(devices: str) -> BadRequest:
    """The static pipeline tells the sum over an answer at its end, and nothing of a token (openvino-facts 4)."""
    return BadRequest(
        f'"logprobs": the pipeline of {devices} gives no log probabilities of tokens; leave the field out, or let '
        "another device answer",
        "logprobs",
    )


def _within_limits(facts: Facts, wanted: str, usable: list[Candidate], faults: dict[str, str]) -> Plan:
    """Where the limits leave nobody, the one that exceeds them least answers. Raises DeviceUnavailable."""
    costs = _costs(usable)
    asked = Limits(latency_s=facts.max_latency_s, watts=facts.max_watts)
    bound = bound_by_mode(asked, facts)
    within: list[Candidate] = []
    over: list[tuple[Excess, str]] = []
    unbound = bound.latency_s is None and bound.watts is None and bound.local_watts is None
    for c in usable:
        free = unbound and c.readings is UNKNOWN
        why = None if free else excess(costs[c.device], asked if c.device == facts.target else bound)
        if why is None:
            within.append(c)
        else:
            over.append((why, c.device))
            faults[c.device] = _limit_fault(facts, why)
    over.sort(
        key=lambda pair: (pair[0].ratio, costs[pair[1]].watts)
    )  # devices share their package's heat and fans
    if not within and facts.strict:
        figures = "; ".join([f"{device} {why.limit}: {why.figures}" for why, device in over])
        raise DeviceUnavailable(f"no device is within the limits: {figures}")
    relaxed = tuple([Choice(device=device, reason="limit_relaxed") for _, device in over])
    if not within:
        hot = all(why.limit == "thermal" or why.unit == "°C" for why, _ in over)
        return Plan(requested=wanted, choices=relaxed, nobody="too_hot" if hot else "", costs=costs)
    if facts.by_score and not any(c.device == facts.target for c in within):
        choices, background = _scored(facts, within, costs, faults)
    else:
        choices, background = _chained(facts, wanted, within, faults)
    return Plan(requested=wanted, choices=choices + relaxed, load_in_background=background, costs=costs)


def _costs(usable: list[Candidate]) -> dict[str, Cost]:
    """Measured times where every candidate has them, else assumed ones of all: the two are never compared. Measured
    watts likewise."""
    times = all(c.expected_s is not None for c in usable)
    powers = all(c.expected_watts is not None for c in usable)
    costs = {}
    for c in usable:
        assumed = c.traits or ASSUMED[c.kind]
        readings = c.readings
        watts = readings.watts
        if watts is None:
            watts = c.expected_watts if powers else assumed.watts
        costs[c.device] = Cost(
            kind=c.kind,
            local=c.local,
            delay_s=c.wait_s + c.load_s,
            latency_s=c.expected_s if times else assumed.latency_s,  # type: ignore[arg-type]  # all have it
            watts=watts,  # type: ignore[arg-type]
            priority=assumed.priority,
            queue=c.queue,
            readings=readings,
        )
    return costs


def bound_by_mode(asked: Limits, facts: Facts) -> Limits:
    """Of every device but the one that the caller names."""
    mode = facts.mode
    if facts.urgent and not mode.binds_critical:
        return asked
    return structs.replace(
        asked, local_watts=mode.max_watts, fan_percent=mode.max_fan_percent, celsius=mode.max_celsius
    )


def _limit_fault(facts: Facts, why: Excess) -> str:
    if why.limit == "mode":
        return "battery" if facts.mode_by_battery else "mode"
    return {"latency": "latency_critical", "power": "power_efficient", "thermal": "thermal"}[why.limit]


def _chained(
    facts: Facts, wanted: str, usable: list[Candidate], faults: dict[str, str]
) -> tuple[tuple[Choice, ...], str]:
    """In the order of trying, and what is loaded meanwhile."""
    place = _first_in_chain(facts, usable)
    first, left_behind = usable[place], usable[:place]
    background = ""
    for c in left_behind:
        if not c.ready and c.load_s > 0 and c.fits_memory:
            background = c.device
            break
    fallback = "" if first.device == wanted else faults.get(wanted) or _why_left(left_behind)
    choices = [
        Choice(device=c.device, reason=_reason(facts, c, fallback), fallback_reason=fallback)
        for c in (first, *left_behind, *usable[place + 1 :])
    ]
    return tuple(choices), background


def _first_in_chain(facts: Facts, usable: list[Candidate]) -> int:
    if facts.target and usable[0].device == facts.target:
        return 0  # the caller named it: waiting for it is what was asked for
    least, soonest = 0, float("inf")
    for place, c in enumerate(usable):
        delay_s = c.wait_s + c.load_s
        if delay_s <= facts.busy_wait_s and (c.ready or c.fits_memory):
            return place
        if delay_s < soonest:
            least, soonest = place, delay_s
    return least


def _scored(
    facts: Facts, usable: list[Candidate], costs: dict[str, Cost], faults: dict[str, str]
) -> tuple[tuple[Choice, ...], str]:
    """The best first. Nobody waits for a long load while another device could begin: it goes on beside the answer."""
    weights = weighing(facts.mode, urgent=facts.urgent, sparing=facts.sparing)
    places, busy_wait_s = weights.places, facts.busy_wait_s
    nowhere = len(places)
    ranked: list[tuple[bool, float, int, int, int]] = []
    best, best_rank = 0, (float("inf"), 0, 0)
    for index, c in enumerate(usable):
        cost = costs[c.device]
        points = score(cost, weights)
        place, load_s = places.get(c.kind, nowhere), c.load_s
        loads = load_s > busy_wait_s or not (c.ready or c.fits_memory)
        ranked.append((loads, -points, place, -cost.priority, index))
        if load_s:  # as it would rank if it were loaded
            points = score(structs.replace(cost, delay_s=c.wait_s), weights)
        if -points <= best_rank[0] and (rank := (-points, place, -cost.priority)) < best_rank:
            best, best_rank = index, rank
    ranked.sort()
    in_order = [usable[entry[-1]] for entry in ranked]
    wished = usable[best]
    background = (
        wished.device if wished is not in_order[0] and wished.fits_memory and not wished.ready else ""
    )
    fallback = faults.get(facts.target, "") if facts.target else ""
    alone = len(costs) == 1
    reason = "target_unavailable" if fallback else "only_candidate" if alone else _score_reason(facts, usable)
    choices = [Choice(device=c.device, reason=reason, fallback_reason=fallback) for c in in_order]
    return tuple(choices), background


def _score_reason(facts: Facts, usable: list[Candidate]) -> str:
    if facts.urgent and not facts.mode.slows_critical:
        return "latency_critical"
    if facts.sparing:
        return "power_efficient"
    if facts.stored_mode not in CHAINED:
        return "mode"
    return "measured_faster" if all(c.expected_s is not None for c in usable) else "preferred"


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
    cost = plan.costs.get(choice.device)
    return Route(
        requested=plan.requested, routed=choice.device, executed="", reason=failed or choice.reason,
        fallback_reason=failed or choice.fallback_reason,
        alternatives=tuple(other.device for other in plan.choices if other is not choice),
        estimated_s=cost.total_s if cost else None,
        estimated_watts=cost.watts if cost else None,
    )  # fmt: skip
