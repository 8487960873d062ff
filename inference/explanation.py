"""Why a request would run where it would: what the router was asked, and each candidate with all that counted."""

from __future__ import annotations

from msgspec import Struct

from inference.errors import InferenceError
from inference.route_facts import NO_LIMIT, Candidate, Facts, Plan
from inference.routing import bound_by_mode, choose, fault_of
from inference.scoring import Cost, Excess, Limits, Terms, Weighing, excess, score, terms, weighing


class Considered(Struct, frozen=True, kw_only=True):
    """A candidate. Times and watts are those that were compared; None where it was not."""

    device: str
    kind: str
    local: bool
    fault: str
    """Why it cannot be asked, in a word; '' where it can."""
    fault_words: str
    """What is known besides of that fault; '' for nothing."""
    limit_tokens: int | None
    """Prompt and one new token; None where another server has to say it, and where nothing can be asked."""
    ready: bool | None
    """None: another server does not tell."""
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
    prompt_tokens: int | None
    """None: the model's tokenizer is on other servers alone."""
    by_score: bool
    """Else by the chain."""
    chain: tuple[str, ...]
    """Of the candidates, most wanted first: the devices, then the other servers that have the model."""
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


def explain(facts: Facts, candidates: tuple[Candidate, ...], *, counted: bool = True) -> Explanation:
    """`counted`: the tokens of the prompt are known."""
    weights = weighing(facts.mode, urgent=facts.urgent, sparing=facts.sparing)
    error = ""
    try:
        plan = choose(facts, candidates)
    except InferenceError as refused:
        plan, error = Plan(requested="", choices=()), str(refused)
    first = plan.choices[0] if plan.choices else None
    considered = tuple(_considered(facts, one, plan.costs.get(one.device), weights) for one in candidates)
    known = [one.device for one in candidates]
    chain = tuple(dict.fromkeys((*[name for name in facts.preferred if name in known], *known)))
    return Explanation(
        prompt_tokens=facts.prompt_tokens if counted else None, by_score=facts.by_score, chain=chain,
        target=facts.target,
        stored_mode=facts.stored_mode, mode=facts.mode.name, busy_wait_s=facts.busy_wait_s,
        by_time=weights.by_time, by_power=weights.by_power, requested=plan.requested,
        winner=first.device if first else "", reason=first.reason if first else "",
        fallback_reason=first.fallback_reason if first else "",
        why=error or _why(facts, plan, chain, {one.device: one for one in considered}),
        order=tuple(choice.device for choice in plan.choices), load_in_background=plan.load_in_background,
        candidates=considered,
    )  # fmt: skip


def _considered(facts: Facts, candidate: Candidate, cost: Cost | None, weights: Weighing) -> Considered:
    fault = fault_of(candidate, facts) or ("" if cost is not None else "not_allowed")
    asked = Limits(latency_s=facts.max_latency_s, watts=facts.max_watts)
    limits = asked if candidate.device == facts.target else bound_by_mode(asked, facts)
    return Considered(
        device=candidate.device, kind=candidate.kind, local=candidate.local, fault=fault,
        fault_words=_words(facts, candidate, fault), limit_tokens=_limit(candidate),
        ready=candidate.ready if candidate.local else None, wait_s=candidate.wait_s, load_s=candidate.load_s,
        queue=candidate.queue,
        latency_s=cost.latency_s if cost else None,
        latency_measured=cost is not None and cost.latency_s == candidate.expected_s,
        watts=cost.watts if cost else None,
        watts_measured=cost is not None and cost.watts in (candidate.expected_watts, candidate.readings.watts),
        exceeds=excess(cost, limits) if cost else None,
        begins_in_time=not fault
        and candidate.wait_s + candidate.load_s <= facts.busy_wait_s
        and (candidate.ready or candidate.fits_memory),
        score=score(cost, weights) if cost else None,
        terms=terms(cost, weights) if cost else None,
    )  # fmt: skip


def _limit(candidate: Candidate) -> int | None:
    known = 0 < candidate.limit_tokens < NO_LIMIT
    return candidate.limit_tokens if known else None


def _words(facts: Facts, candidate: Candidate, fault: str) -> str:
    if fault == "device_unavailable":
        return candidate.fault
    if fault == "not_allowed":
        keeps = not facts.remote and not candidate.local
        return f"kept on this machine by {facts.remote_forbidden_by}" if keeps else ""
    if fault == "load_failed":
        return candidate.load_failed
    if fault == "crashed":
        return f"gets another try in {candidate.breaker_s:.0f} s"
    if fault and not candidate.incapable and facts.prompt_tokens + 1 > candidate.limit_tokens:
        return f"takes prompts of up to {candidate.limit_tokens - 1} tokens"
    return candidate.incapable if fault else ""


def _why(facts: Facts, plan: Plan, chain: tuple[str, ...], considered: dict[str, Considered]) -> str:
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
    if winner.begins_in_time:
        return f"{winner.device} is the first of {', '.join(chain)} that can begin within {facts.busy_wait_s:g} s"
    return f"none of {', '.join(chain)} can begin within {facts.busy_wait_s:g} s, and {winner.device} begins first"
