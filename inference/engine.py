"""The one door to inference: generate, embed, load, unload, count, snapshot.

    request -> prompt ids (template, tokenizer) -> choose() -> backend: lease, slot, run -> events

The engine lives in the server's event loop and holds no pipeline; models run in worker processes. It knows no HTTP
and no database: what it must know of a model comes in as a `ModelSpec`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from inference import failover, planning, preparation, remotes, routing, snapshot
from inference.backend import Backend, ChatJob
from inference.config import EngineConfig
from inference.constraints import ConstraintChecks
from inference.device_watch import DeviceWatch
from inference.energy import Ledger
from inference.errors import (
    CapabilityMissing,
    DeviceUnavailable,
    InferenceError,
    LoadFailed,
    ShuttingDown,
    WorkerDied,
)
from inference.events import Embeddings, Event
from inference.explanation import Explanation, explain
from inference.machine_state import conditions
from inference.modes import Efficiency
from inference.pool import Pool
from inference.profiles import Profiles
from inference.remote import RemoteSpec
from inference.reports import LoadReport
from inference.route_facts import Candidate, Facts, Plan
from inference.states import DeviceState, LoadedModel, RequestRecord, Snapshot
from inference.substitution import Substitution
from inference.telemetry.sampler import FIRST_S, Sampler
from inference.texts import Texts
from inference.types import ChatRequest, EmbedRequest, LoadRequest, ModelSpec

logger = logging.getLogger(__name__)

RECORDS = 200
Others = tuple[Candidate, ...]
"""Other servers that could answer, the best first."""


class Engine:
    """Event loop only, but `snapshot` and `record`, which any thread may call."""

    def __init__(
        self,
        config: EngineConfig,
        on_load: Callable[[LoadReport], None] = lambda report: None,
        on_record: Callable[[RequestRecord], None] = lambda record: None,
    ) -> None:
        """`on_load` and `on_record` are told on the event loop and must not block."""
        self.config = config
        self._on_record = on_record
        self.telemetry = Sampler(config.sysfs_root)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._began = time.time()
        self._emulated: set[str] = set()
        self.profiles = Profiles()
        self._pool = Pool(config, lambda device: device in self._emulated, on_load, self.profiles)
        self.texts = Texts()
        self._constraints = ConstraintChecks(self._pool.spare)
        self._backends: dict[str, Backend] = {}
        shared = (self._pool, self.texts, self.profiles, Ledger(self.telemetry))
        self._watch = DeviceWatch(config, *shared, self._backends, self._emulated)
        self.efficiency = Efficiency(stable_s=config.auto_mode_s)
        self.substitution = Substitution()
        self.remotes = remotes.Remotes(config.max_queue, self.profiles)
        self._records: deque[RequestRecord] = deque(maxlen=RECORDS)
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._background: set[asyncio.Task[None]] = set()

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the spare worker and returns; the devices are known with its first word."""
        self.loop = asyncio.get_running_loop()
        self._pool.start()
        self.telemetry.start()
        self._in_background(self._watch.run())
        self._in_background(self._follow_machine())

    async def drain(self, timeout_s: float) -> None:
        """Refuses new work and gives what runs this long to end."""
        self._draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            logger.warning("%d requests did not end within %g s and are cut", self._active, timeout_s)

    async def stop(self) -> None:
        """Ends every worker."""
        self._draining = True
        for task in self._background:
            task.cancel()
        self.telemetry.stop()
        await self._constraints.stop()
        await self.remotes.stop()
        await self._pool.stop()

    # --- requests -----------------------------------------------------------------------------------------------------

    async def generate(self, spec: ModelSpec, request: ChatRequest) -> AsyncGenerator[list[Event], None]:
        """Lists of the events that are ready: Start alone, the first token's, …, Finish. Closing frees the slot.

        Raises InferenceError: after Start at most when nothing was generated, later when the stream broke.
        """
        began = time.perf_counter()
        self._enter()
        try:
            job, plan = await self.substitution.first(spec, request, partial(self._planned, began))
            async with aclosing(failover.generate(self._every(), job, plan)) as batches:
                async for events in batches:
                    yield events
        finally:
            self._leave()

    async def embed(self, spec: ModelSpec, request: EmbedRequest) -> Embeddings:
        began = time.perf_counter()
        if "embedding" not in spec.capabilities:
            raise CapabilityMissing(f'"{request.model}" does not support embeddings')
        self._enter()
        try:
            others = self.remotes.candidates(spec, request)
            if spec.remote:
                job = remotes.embed_job(spec, request, began)
            else:
                await self._watch.known()
                codec = (await self.texts.get(spec)).codec
                job = await preparation.embed_job(spec, request, codec, began)
            plan = self._plan(spec, request, others, text_tokens=job.prompt_tokens)
            return await failover.embed(self._every(), job, plan)
        finally:
            self._leave()

    async def load(self, spec: ModelSpec, request: LoadRequest) -> LoadedModel:
        """Loads now and keeps for keep_alive. The copy that is ready is told."""
        if spec.remote:
            return await self._load_there(spec, request)
        self._enter()
        try:
            await self._watch.known()
            plan = self._plan(spec, request, ())
            last: InferenceError | None = None
            for choice in plan.choices:
                try:
                    await self._backends[choice.device].load(spec, request.keep_alive_s)
                except (LoadFailed, WorkerDied) as error:
                    last = error
                    continue
                if (held := self._pool.peek(spec, choice.device)) is not None:
                    return snapshot.loaded_model(held)
            raise last or LoadFailed(f"model '{spec.name}' was unloaded at once")
        finally:
            self._leave()

    async def _load_there(self, spec: ModelSpec, request: LoadRequest) -> LoadedModel:
        """On the best server that has it. Raises what `choose` and that server raise."""
        self._enter()
        try:
            plan = self._plan(spec, request, self.remotes.candidates(spec, request))
            device = plan.choices[0].device
            await self.remotes.backends[device].load(spec, request.keep_alive_s)
            return remotes.loaded(spec, device)
        finally:
            self._leave()

    async def unload(self, spec: ModelSpec) -> bool:
        """After the running requests of its worker, pinned or not; False when it was not loaded."""
        if spec.remote:
            return await self.remotes.unload(spec)
        return await self._pool.unload(spec.load_key)

    async def devices(self) -> tuple[DeviceState, ...]:
        """Waits until the runtime has named them. Raises LoadFailed."""
        return tuple(backend.state() for backend in (await self._watch.known()).values())

    def follow(self, models: Mapping[str, ModelSpec], budgets: Mapping[str, int]) -> None:
        """What the registry says now, by name: pins count at once. Bytes by device: count from the next load on."""
        self._pool.room.devices = budgets
        self._pool.follow(models)
        self.substitution.models = models

    def follow_remotes(self, servers: tuple[RemoteSpec, ...]) -> None:
        """The other servers, as the registry has them now, in the place of those before."""
        self.remotes.follow(servers)

    async def prompt_ids(self, spec: ModelSpec, request: ChatRequest) -> list[int]:
        """Exact: the rendered prompt in the model's own tokens, as a generation would have it."""
        preparation.check_capabilities(spec, request)
        return await preparation.prompt_ids(spec, request, await self.texts.get(spec))

    async def explain(self, spec: ModelSpec, request: ChatRequest) -> Explanation:
        """Where a request would go now, and why; nothing runs or loads by it. Raises what `prompt_ids` raises."""
        await self._watch.known()
        tokens = 0 if spec.remote else len(await self.prompt_ids(spec, request))
        asked = self._question(spec, request, self.remotes.candidates(spec, request), tokens)
        return explain(*asked, counted=not spec.remote)

    async def count_there(self, spec: ModelSpec, request: ChatRequest, body: bytes) -> bytes:
        """What another server answers to this body of Anthropic's count_tokens. Raises CapabilityMissing where none of
        those that have the model speaks that API."""
        able = [
            other for other in self.remotes.candidates(spec, request) if self.remotes.counts(other.device)
        ]
        if not able:
            raise CapabilityMissing(f'"{request.model}" is on servers alone that count no tokens for others')
        plan = self._plan(spec, request, tuple(able))
        return await self.remotes.backends[plan.choices[0].device].count(spec, request, body)

    # --- what people see ----------------------------------------------------------------------------------------------

    def record(self, record: RequestRecord) -> None:
        self._records.appendleft(record)
        self._on_record(record)

    def snapshot(self) -> Snapshot:
        backends, records = tuple(self._every().values()), tuple(self._records)
        return snapshot.take(self._began, backends, self._pool, records, self.telemetry, self._draining)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        if self._draining:
            raise ShuttingDown
        self._active += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._active -= 1
        if not self._active:
            self._idle.set()

    def _every(self) -> Mapping[str, Backend]:
        """The devices, then the other servers."""
        return {**self._backends, **self.remotes.backends} if self.remotes.backends else self._backends

    async def _planned(self, began: float, spec: ModelSpec, request: ChatRequest) -> tuple[ChatJob, Plan]:
        others = self.remotes.candidates(spec, request)
        if spec.remote:
            job = remotes.chat_job(spec, request, began)
        else:
            job = await self._prepare(spec, request, await self._watch.known(), others, began)
        return job, self._plan(spec, request, others, len(job.prompt_ids))

    async def _prepare(
        self,
        spec: ModelSpec,
        request: ChatRequest,
        backends: dict[str, Backend],
        others: Others,
        began: float,
    ) -> ChatJob:
        preparation.check_capabilities(spec, request)
        text = await self.texts.get(spec)
        candidates = [backend.candidate(spec, request.num_ctx) for backend in backends.values()]
        if request.placement.remote and not spec.local_only:
            candidates += [other for other in others if other.available and not other.incapable]
        limits = routing.limits(candidates, request.placement.allowed)
        if not limits:
            raise DeviceUnavailable("no inference device is available")
        truncate = request.truncate or (request.truncate is None and self.config.overflow == "truncate")
        job = await preparation.chat_job(spec, request, text, began, limits=limits, truncate=truncate)
        return await self._constraints.applied(job, text)

    def _plan(
        self, spec: ModelSpec, request: planning.Wanted, others: Others, tokens: int = 0, text_tokens: int = 0
    ) -> Plan:
        plan = routing.choose(*self._question(spec, request, others, tokens, text_tokens))
        if plan.load_in_background:
            self._load_in_background(spec, plan.load_in_background, request.keep_alive_s)
        return plan

    def _question(
        self, spec: ModelSpec, request: planning.Wanted, others: Others, tokens: int, text_tokens: int = 0
    ) -> tuple[Facts, Others]:
        readings, backends = self.telemetry.readings(), {} if spec.remote else self._backends
        return planning.question(
            self.config, self.efficiency, readings, backends, self.profiles, spec, request, tokens, text_tokens, others,
            (*self._backends, *self.remotes.backends),
        )  # fmt: skip

    def _load_in_background(self, spec: ModelSpec, device: str, keep_alive_s: float | None) -> None:
        held = self._pool.peek(spec, device)
        if held is not None:
            return

        async def load() -> None:
            try:
                await self._backends[device].load(spec, keep_alive_s)
            except InferenceError as error:
                logger.warning("loading %s on %s in the background: %s", spec.name, device, error)

        self._in_background(load())

    async def _follow_machine(self) -> None:
        """What the mode Auto stands for."""
        await asyncio.sleep(FIRST_S)
        while True:
            readings = self.telemetry.readings()
            now = conditions(readings, self.config.quiet_hours, time.localtime().tm_hour)
            self.efficiency.observe(now, time.monotonic())
            await asyncio.sleep(self.efficiency.look_s)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


_engine: Engine | None = None


def install(engine: Engine | None) -> None:
    """The server's engine, for everything in this process."""
    global _engine
    _engine = engine


def current() -> Engine:
    """Raises RuntimeError outside the server process."""
    if _engine is None:
        raise RuntimeError("no engine runs in this process")
    return _engine
