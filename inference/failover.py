"""One backend after the other, until one gives a first token; after that there is no second try."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from inference import metrics, routing
from inference.backend import Backend, ChatJob, EmbedJob
from inference.errors import (
    BadRequest,
    BreakerOpen,
    ContextLengthExceeded,
    InferenceError,
    InferenceTimeout,
    LoadFailed,
    QueueFull,
    QueueTimeout,
    RemoteFailed,
    RemoteRefused,
    RemoteTooLong,
    WorkerDied,
)
from inference.events import Embeddings, Event
from inference.route_facts import Choice, Plan

logger = logging.getLogger(__name__)

_TRY_NEXT: dict[type[InferenceError], str] = {
    LoadFailed: "load_failed",
    WorkerDied: "crashed",
    BreakerOpen: "crashed",
    InferenceTimeout: "crashed",
    QueueFull: "busy",
    QueueTimeout: "busy",
}
"""Failures before the first token after which the next backend is tried, and the reason that the reply names."""
_NO_SUCH_MODEL = 404


async def generate(
    backends: Mapping[str, Backend], job: ChatJob, plan: Plan
) -> AsyncGenerator[list[Event], None]:
    """As `Engine.generate`. Raises what the last backend raised."""
    failed = ""
    left = deque(plan.choices)
    again = True
    while left:
        choice, started = left.popleft(), False
        try:
            stream = backends[choice.device].generate(
                job, metrics.routed(routing.route(plan, choice, failed))
            )
            async with aclosing(stream) as batches:
                yield await anext(batches)  # Start
                async for events in batches:
                    started = True
                    yield events
            return
        except InferenceError as error:
            if not started and again and isinstance(error, WorkerDied) and error.untouched:
                again = False  # it had died before: a fresh worker on the same device answers
                left.appendleft(choice)
                continue
            why = _why_next(error)
            if started or not left or why is None:
                raise
            failed = why or failed
            _warn(job.spec.name, choice, error)


async def embed(backends: Mapping[str, Backend], job: EmbedJob, plan: Plan) -> Embeddings:
    """Raises what the last backend raised."""
    failed = ""
    for choice in plan.choices:
        try:
            return await backends[choice.device].embed(
                job, metrics.routed(routing.route(plan, choice, failed))
            )
        except InferenceError as error:
            why = _why_next(error)
            if choice is plan.choices[-1] or why is None:
                raise
            failed = why or failed
            _warn(job.spec.name, choice, error)
    raise BadRequest("no device can embed")


def _why_next(error: InferenceError) -> str | None:
    """The word for the reply; None: the next backend would say the same."""
    if isinstance(error, RemoteTooLong):
        return "capability"
    if isinstance(error, RemoteRefused) and error.status != _NO_SUCH_MODEL:
        return None
    if isinstance(error, RemoteFailed):
        return error.reason
    if isinstance(error, ContextLengthExceeded):  # the pool came out smaller than planned
        return ""
    return next((why for kind, why in _TRY_NEXT.items() if isinstance(error, kind)), None)


def _warn(model: str, choice: Choice, error: InferenceError) -> None:
    logger.warning("%s on %s: %s; the next one is tried", model, choice.device, error)
