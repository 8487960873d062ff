"""Which model answers instead of another, where the operator wrote it, and only there.

The model that was asked for is planned first. Where it does not fit, or no device can have it, or all are too hot, its
substitutes are planned in their order, and theirs after them; each once, so that rows that lead in a circle end. Where
none can, the caller hears of the first. Heat lies in the devices: a smaller model on a hot one is what was wished.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct, structs

from inference.backend import ChatJob
from inference.errors import BreakerOpen, ContextLengthExceeded, DeviceUnavailable, InferenceError, LoadFailed
from inference.route_facts import Plan
from inference.types import ChatRequest, ModelSpec

logger = logging.getLogger(__name__)

ANY: Final = "any"
DOES_NOT_FIT: Final = "does_not_fit"
UNAVAILABLE: Final = "unavailable"
TOO_HOT: Final = "too_hot"
WHEN: Final = (ANY, DOES_NOT_FIT, UNAVAILABLE, TOO_HOT)
_CAUSES: Final[dict[type[InferenceError], str]] = {
    ContextLengthExceeded: DOES_NOT_FIT,
    LoadFailed: DOES_NOT_FIT,
    DeviceUnavailable: UNAVAILABLE,
    BreakerOpen: UNAVAILABLE,
}
_WORDS: Final = {
    DOES_NOT_FIT: "does not fit",
    UNAVAILABLE: "has no device",
    TOO_HOT: "has none but devices that are too hot",
}
Planned = tuple[ChatJob, Plan]
Attempt = Callable[[ModelSpec, ChatRequest], Awaitable[Planned]]


class Substitute(Struct, frozen=True):
    """Instead of a model this one. `when`: one of WHEN."""

    name: str
    when: str = ANY


class Substitution:
    """What the registry says. Event loop only."""

    def __init__(self) -> None:
        self.rules: Mapping[str, tuple[Substitute, ...]] = {}
        """By the name of the model that was asked for, in lower case."""
        self.models: Mapping[str, ModelSpec] = {}
        """By name."""

    async def first(self, spec: ModelSpec, request: ChatRequest, attempt: Attempt) -> Planned:
        """Of the model, or of the first that stands in for it. Raises what `attempt` raises of the model itself."""
        if spec.name.lower() not in self.rules:
            return await attempt(spec, request)
        planned, error, cause = await _tried(attempt, spec, request)
        if not cause:
            return _settled(planned, error)
        if spec.local_only:  # nor may what stands in for it leave this machine
            kept_by = (*request.placement.kept_by, f"the setting of {spec.name}")
            placement = structs.replace(request.placement, remote=False, kept_by=kept_by)
            request = structs.replace(request, placement=placement)
        known = {name.lower(): other for name, other in self.models.items()}
        seen, line = {spec.name.lower()}, self._after(spec, cause)
        while line:
            name = line.pop(0).lower()
            other = known.get(name)
            if name in seen or other is None or not _allowed(request, name):
                continue
            seen.add(name)
            instead, _, fault = await _tried(attempt, other, request)
            if instead is not None and fault in ("", TOO_HOT):
                logger.info("%s %s: %s answers instead", spec.name, _WORDS[cause], other.name)
                return instead[0], _named(instead[1])
            line += self._after(other, fault)
        return _settled(planned, error)

    def _after(self, spec: ModelSpec, cause: str) -> list[str]:
        rules = self.rules.get(spec.name.lower(), ())
        return [rule.name for rule in rules if rule.when in (ANY, cause)]


async def _tried(
    attempt: Attempt, spec: ModelSpec, request: ChatRequest
) -> tuple[Planned | None, InferenceError | None, str]:
    """What was planned, or why not; and why another one should be tried, '' for no reason."""
    try:
        planned = await attempt(spec, request)
    except InferenceError as error:
        return None, error, next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), "")
    return planned, None, planned[1].nobody


def _settled(planned: Planned | None, error: InferenceError | None) -> Planned:
    if planned is None:
        assert error is not None, "what was not planned has raised"
        raise error
    return planned


def _allowed(request: ChatRequest, name: str) -> bool:
    """By the caller's key."""
    patterns = request.placement.models
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _named(plan: Plan) -> Plan:
    choices = tuple(structs.replace(choice, reason="substituted") for choice in plan.choices)
    return structs.replace(plan, choices=choices)
