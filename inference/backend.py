"""What a device of this machine and another server have in common: the router compares them, the engine asks them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from msgspec import Struct

from inference.events import Embeddings, Event
from inference.route_facts import Candidate, Route
from inference.states import DeviceState
from inference.thinking import ThinkTags
from inference.tools.family import Family
from inference.types import ChatRequest, EmbedRequest, ModelSpec, Sampling


class ChatJob(Struct, frozen=True, kw_only=True):
    """A generation with everything decided but the device."""

    spec: ModelSpec
    request: ChatRequest
    prompt_ids: tuple[int, ...] | list[int]
    prompt: str = ""
    """For a model that looks at images: what the runtime gets in the place of ids."""
    sampling: Sampling
    """Complete: no None but max_tokens and seed."""
    think: bool
    starts_in_thinking: bool
    """The rendered prompt ends inside the thinking part."""
    think_tags: ThinkTags
    family: Family
    """How the model writes calls."""
    grammar: dict[str, Any] | None
    began: float
    """time.perf_counter() at the call of generate()."""
    truncated_messages: int = 0
    ends: frozenset[int] = frozenset()
    """Ids that end this answer, besides those that end every one."""


class EmbedJob(Struct, frozen=True, kw_only=True):
    spec: ModelSpec
    request: EmbedRequest
    ids: tuple[bytes, ...]
    """Of each text, as far as it fits: packed as a worker gets them."""
    prompt_tokens: int
    truncated_tokens: int
    began: float


def left_s(job: ChatJob | EmbedJob) -> float | None:
    """Until X-Deadline-Ms; None without one."""
    deadline_ms = job.request.placement.deadline_ms
    return None if deadline_ms is None else deadline_ms / 1000 - (time.perf_counter() - job.began)


class Backend(Protocol):
    """Five methods. Failures before the first event are InferenceErrors that let the engine try the next backend."""

    id: str

    def candidate(self, spec: ModelSpec, num_ctx: int | None) -> Candidate: ...

    def generate(self, job: ChatJob, route: Route) -> AsyncGenerator[list[Event], None]: ...

    async def embed(self, job: EmbedJob, route: Route) -> Embeddings: ...

    async def load(self, spec: ModelSpec, keep_alive_s: float | None) -> None: ...

    def state(self) -> DeviceState: ...
