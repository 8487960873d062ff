"""What the router is told of a request and of each device, and what it says."""

from __future__ import annotations

from msgspec import Struct

from inference.modes import AUTO, BALANCED, PERFORMANCE, Mode
from inference.scoring import UNKNOWN, Cost, Readings, Traits

CHAINED = (AUTO, BALANCED.name)
"""Stored modes in which a request without a hint follows the chain."""


NO_LIMIT = 1 << 40
"""Tokens: what fits is for another server to say."""


class Candidate(Struct, frozen=True, kw_only=True):
    """What the router must know of one device for one request."""

    device: str
    kind: str = "cpu"
    """npu, igpu, dgpu or cpu."""
    local: bool = True
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
    queue: int = 0
    """Requests in its line."""
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
    expected_s: float | None = None
    """How long the answer takes once it runs, by what was measured; None before three requests were."""
    expected_watts: float | None = None
    """What it draws meanwhile, by what was measured."""
    readings: Readings = UNKNOWN
    traits: Traits | None = None
    """What is assumed of it; None: what is of its kind."""
    loopback: bool = False
    """Another server on this machine: the readings of its kind here are its own."""
    fault: str = ""
    """Why another server is not available, in words that follow its name."""


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
    remote: bool = True
    """False: the request stays on this machine, whatever else is asked for."""
    remote_forbidden_by: str = ""
    """Who says so, as the refusal names it."""
    busy_wait_s: float = 2.0
    stored_mode: str = AUTO
    mode: Mode = PERFORMANCE
    """What counts now."""
    mode_by_battery: bool = False
    scored: bool = False
    """NPU_PROXY_ROUTING=measured or NPU_PROXY_DEVICE=AUTO."""
    latency_critical: bool = False
    power_efficient: bool = False
    max_latency_s: float | None = None
    max_watts: float | None = None

    @property
    def urgent(self) -> bool:
        return self.latency_critical or self.max_latency_s is not None

    @property
    def sparing(self) -> bool:
        return self.power_efficient or self.max_watts is not None

    @property
    def by_score(self) -> bool:
        return self.scored or self.urgent or self.sparing or self.stored_mode not in CHAINED


class Choice(Struct, frozen=True, kw_only=True):
    device: str
    reason: str
    fallback_reason: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """Devices in the order in which they are tried, and what may be loaded meanwhile."""

    requested: str
    choices: tuple[Choice, ...]
    load_in_background: str = ""
    nobody: str = ""
    """Why those who are tried are tried for want of others: too_hot, or does_not_fit; '' where they are good."""
    costs: dict[str, Cost] = {}
    """By device: what was compared."""


class Route(Struct, frozen=True, kw_only=True):
    """Where a request was wanted, sent and really run: three facts (routing-spec 1)."""

    requested: str
    """What the client or the settings asked for."""
    routed: str
    """The device the router chose."""
    executed: str
    """EXECUTION_DEVICES as the runtime logged it when the pipeline compiled; 'NPU (emulated)' on the emulation."""
    reason: str
    """One word of routing-spec's closed set."""
    fallback_reason: str = ""
    """Why an earlier candidate was left; '' when none was."""
    alternatives: tuple[str, ...] = ()
    estimated_s: float | None = None
    """Wait, load and answer, as the router compared them."""
    estimated_watts: float | None = None

    @property
    def fell_back(self) -> bool:
        return bool(self.fallback_reason)
