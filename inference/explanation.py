"""Why a request would run where it would: what the router was asked, and each candidate with all that counted."""

from __future__ import annotations

from msgspec import Struct

from inference.errors import InferenceError
from inference.route_facts import Candidate, Facts, Plan
from inference.routing import bound_by_mode, choose, fault_of
from inference.scoring import Cost, Excess, Limits, Terms, Weighing, excess, score, terms, weighing


class Considered(Struct, frozen=True, kw_only=True):
    """A candidate. Times and watts are those that were compared; None where it was not."""

    device: str
    kind: str
    local: bool
    fault: str
    """Why it cannot be asked; '' where it can."""
    limit_tokens: int
    ready: bool
    wait_s: float
    load_s: float
    queue: int
    latency_s: float | None = None
    latency_measured: bool = False
    watts: float | None = None
    watts_measured: bool = False
    exceeds: Excess | None = None
    """The limit that it exceeds most."""
    begins_in_time: bool = False
    """Wait and load are within what the chain waits."""
    score: float | None = None
    terms: Terms | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    by_score: bool
    """Else by the chain."""
    preferred: tuple[str, ...]
    """The chain, most wanted first."""
    target: str
    stored_mode: str
    mode: str
    busy_wait_s: float
    by_time: float
    by_power: float
    requested: str
    winner: str
    """'' where none can answer."""
    reason: str
    fallback_reason: str
    why: str
    """For people; the error where none can."""
    order: tuple[str, ...]
    """In which they would be tried."""
    load_in_background: str
    candidates: tuple[Considered, ...]


def explain(facts: Facts, candidates: tuple[Candidate, ...]) -> Explanation:
    weights = weighing(facts.mode, urgent=facts.urgent, sparing=facts.sparing)
    error = ""
    try:
        plan = choose(facts, candidates)
    except InferenceError as refused:
        plan, error = Plan(requested="", choices=()), str(refused)
    first = plan.choices[0] if plan.choices else None
    considered = tuple(_considered(facts, one, plan.costs.get(one.device), weights) for one in candidates)
    return Explanation(
        prompt_tokens=facts.prompt_tokens, by_score=facts.by_score, preferred=facts.preferred, target=facts.target,
        stored_mode=facts.stored_mode, mode=facts.mode.name, busy_wait_s=facts.busy_wait_s,
        by_time=weights.by_time, by_power=weights.by_power, requested=plan.requested,
        winner=first.device if first else "", reason=first.reason if first else "",
        fallback_reason=first.fallback_reason if first else "",
        why=error or _why(facts, plan, {one.device: one for one in considered}),
        order=tuple(choice.device for choice in plan.choices), load_in_background=plan.load_in_background,
        candidates=considered,
    )  # fmt: skip


def _considered(facts: Facts, candidate: Candidate, cost: Cost | None, weights: Weighing) -> Considered:
    fault = fault_of(candidate, facts) or ("" if cost is not None else "not_allowed")
    asked = Limits(latency_s=facts.max_latency_s, watts=facts.max_watts)
    limits = asked if candidate.device == facts.target else bound_by_mode(asked, facts)
    return Considered(
        device=candidate.device, kind=candidate.kind, local=candidate.local, fault=fault,
        limit_tokens=candidate.limit_tokens, ready=candidate.ready, wait_s=candidate.wait_s, load_s=candidate.load_s,
        queue=candidate.queue,
        latency_s=cost.latency_s if cost else None,
        latency_measured=cost is not None and cost.latency_s == candidate.expected_s,
        watts=cost.watts if cost else None,
        watts_measured=cost is not None and cost.watts in (candidate.expected_watts, candidate.readings.watts),
        exceeds=excess(cost, limits) if cost else None,
        begins_in_time=candidate.wait_s + candidate.load_s <= facts.busy_wait_s
        and (candidate.ready or candidate.fits_memory),
        score=score(cost, weights) if cost else None,
        terms=terms(cost, weights) if cost else None,
    )  # fmt: skip


def _why(facts: Facts, plan: Plan, considered: dict[str, Considered]) -> str:
    winner = considered[plan.choices[0].device]
    if plan.choices[0].reason == "limit_relaxed":
        over = winner.exceeds
        return f"nobody is within the limits, and {winner.device} exceeds them least ({over.figures if over else ''})"
    if winner.device == facts.target:
        return f"{winner.device} was asked for"
    if len(plan.costs) == 1:
        return f"{winner.device} is the only one that can"
    if facts.by_score:
        quick = [considered[name] for name in plan.costs if considered[name].score is not None]
        beaten = [one for one in quick if one is not winner and (one.score or 0) > (winner.score or 0)]
        late = f"; {', '.join(one.device for one in beaten)} would have to load first" if beaten else ""
        points = 0.0 if winner.score is None else winner.score
        return f"{winner.device} has the highest score of those that may begin, {points:.0f}{late}"
    chain = ", ".join(facts.preferred)
    if winner.begins_in_time:
        return f"{winner.device} is the first of {chain} that can begin within {facts.busy_wait_s:g} s"
    return f"none of {chain} can begin within {facts.busy_wait_s:g} s, and {winner.device} begins first"
