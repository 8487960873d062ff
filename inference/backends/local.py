"""A device of this machine: a lease on the model, a slot of the device, a run in its worker."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable

from msgspec import structs

from inference import vision
from inference.admission import DeviceQueue, Slot
from inference.backend import ChatJob, EmbedJob, left_s
from inference.backends.answer import answer_of
from inference.config import EngineConfig
from inference.device_names import kind_of
from inference.embedding_cache import EmbeddingCache
from inference.energy import Ledger, Ticket
from inference.errors import ContextLengthExceeded, DeadlineExceeded, LoadFailed
from inference.events import Embeddings, Event, Finish, Start
from inference.pool import Lease, Pool
from inference.profiles import Generated, Profiles
from inference.route_facts import Candidate, Route
from inference.run import Run
from inference.scoring import ASSUMED
from inference.states import DeviceState
from inference.texts import Texts
from inference.types import ModelSpec
from inference.vectors import shortened
from inference.worker import messages as wire

_ID_BYTES = 4
SLOTS = {"NPU": 1}
BATCHING_SLOTS = 32
"""Requests in one batch; beyond that each token's step gets longer and no faster in sum on two to sixteen cores."""


class LocalBackend:
    """One device. Event loop only."""

    def __init__(
        self,
        device: str,
        full_name: str,
        *,
        emulated: bool,
        config: EngineConfig,
        pool: Pool,
        texts: Texts,
        profiles: Profiles,
        ledger: Ledger,
    ):
        self.id = device
        self.full_name = full_name
        self.kind = kind_of(device, full_name)
        self.emulated = emulated
        self.available = True
        """False: the runtime does not see it any more; what a worker still does there goes on as long as it can."""
        self.queue = DeviceQueue(SLOTS.get(device.partition(".")[0], BATCHING_SLOTS), config.max_queue)
        batches = self.queue.slots > 1
        self._embedding_queue = DeviceQueue(BATCHING_SLOTS, config.max_queue) if batches else self.queue
        """A lane of their own where the device can do both: no vector waits for long answers to end."""
        self._config = config
        self._pool = pool
        self._texts = texts
        self._profiles = profiles
        self._ledger = ledger
        self.cache = EmbeddingCache(config.embedding_cache_size)

    # --- what the router and the page see ---------------------------------------------------------------------------

    def candidate(self, spec: ModelSpec, num_ctx: int | None) -> Candidate:
        if not self.available:
            return Candidate(device=self.id, kind=self.kind, available=False, ready=False)
        held = self._pool.peek(spec, self.id)
        ready = held is not None and held.is_ready and not held.evicting
        if vision.looks(spec) and self.id.startswith("NPU"):
            return Candidate(
                device=self.id,
                kind=self.kind,
                incapable="it does not run models that look at images",
                ready=False,
            )
        history, key = self._pool.history, (spec.load_key, self.id)
        limit = self._pool.room.context_of(spec)
        try:
            plan = self._pool.plan(spec, self.id)
        except LoadFailed as error:  # it can never fit here, but maybe on another device
            return Candidate(
                device=self.id,
                kind=self.kind,
                limit_tokens=limit,
                ready=False,
                fits_memory=False,
                load_failed=str(error),
            )
        limit, queue = min(limit, plan.limit_tokens), self._queue(spec)
        if plan.max_prompt_len:
            limit = min(limit, min(plan.max_prompt_len, self._config.token_limit) + 1)
        return Candidate(
            device=self.id,
            kind=self.kind,
            queue=queue.waiting,
            limit_tokens=min(limit, num_ctx) if num_ctx else limit,
            ready=ready,
            wait_s=queue.expected_wait_s(),
            load_s=0.0 if ready else self._pool.rest_of_load_s(spec, self.id),
            fits_memory=held is not None or self._pool.fits(spec, self.id, plan),
            logprobs=not plan.max_prompt_len,
            breaker_s=history.breaker_s(key),
            load_failed=history.failure(key),
        )

    def state(self) -> DeviceState:
        """Generations and embeddings together; the slots are those of generations."""
        lanes = {self.queue, self._embedding_queue}
        return DeviceState(
            id=self.id, full_name=self.full_name, available=self.available, slots=self.queue.slots,
            running=sum(lane.running for lane in lanes), waiting=sum(lane.waiting for lane in lanes),
            emulated=self.emulated, cache_hits=self.cache.hits, cache_misses=self.cache.misses, kind=self.kind,
            driver="" if self.emulated else self._pool.spare.driver(self.id),
            memory_bytes=self._pool.spare.memory_bytes("CPU" if self.emulated else self.id),
        )  # fmt: skip

    def _queue(self, spec: ModelSpec) -> DeviceQueue:
        return self._embedding_queue if spec.kind == "embedding" else self.queue

    async def load(self, spec: ModelSpec, keep_alive_s: float | None) -> None:
        (await self._pool.lease(spec, self.id, keep_alive_s)).release(keep_alive_s)

    # --- generation -------------------------------------------------------------------------------------------------

    async def generate(self, job: ChatJob, route: Route) -> AsyncGenerator[list[Event], None]:
        """Start at once, then a list with the first token, empty while it shows nothing; see `Engine.generate`."""
        codec = (await self._texts.get(job.spec)).codec
        load_began = time.perf_counter()
        lease, slot = await self._admit(job)
        load_s = time.perf_counter() - load_began - slot.waited_s
        run = self._submit(job, lease, slot, codec.eos_ids | job.ends)
        try:
            answer = answer_of(job, run, codec, load_s)
            start = Start(
                route=structs.replace(route, executed=self._executed(lease)), model_digest=job.spec.shown_digest,
                prompt_tokens=len(job.prompt_ids), queue_s=slot.waited_s, load_s=load_s,
                truncated_messages=job.truncated_messages, meter=answer.meter,
            )  # fmt: skip
            yield [start]
            waiting = True
            while not answer.finished:
                await run.wait()
                events = answer.take()
                if answer.finished:
                    self._learn(job, lease, run, events[-1])
                if events or waiting:
                    yield events
                waiting = False
        finally:
            run.cancel()

    async def _admit(self, job: ChatJob | EmbedJob) -> tuple[Lease, Slot]:
        """The model first, then the slot: a load never keeps a slot from others."""
        queue = self._queue(job.spec)
        queue.check_room()
        queue.loading += 1
        try:
            async with asyncio.timeout(left_s(job)):
                lease = await self._pool.lease(job.spec, self.id, job.request.keep_alive_s)
        except TimeoutError:  # the load goes on: the next request finds it further
            raise DeadlineExceeded("X-Deadline-Ms passed while the model was loaded") from None
        finally:
            queue.loading -= 1
        priority, timeout_s = job.request.placement.priority, self._config.queue_timeout_s
        try:
            slot = await queue.acquire(priority, timeout_s, left_s(job))
        except BaseException:
            lease.release()
            raise
        return lease, slot

    def _submit(self, job: ChatJob, lease: Lease, slot: Slot, eos_ids: frozenset[int]) -> Run:
        def end(answered: bool = False) -> None:
            slot.release()
            lease.release(job.request.keep_alive_s, answered=answered)

        limit = room = min(lease.held.plan.limit_tokens, self._pool.room.context_of(job.spec))
        if job.request.num_ctx:
            room = min(room, job.request.num_ctx)
        room -= len(job.prompt_ids)
        if room < 1:
            end()
            raise ContextLengthExceeded(len(job.prompt_ids), limit)
        try:
            run = lease.worker.submit(lambda id: _add_frame(id, job, room, eos_ids))
        except BaseException:
            end()
            raise
        run.energy = self._draws(job.spec, lambda: run.tokens + (len(job.prompt_ids) if run.tokens else 0))
        run.on_end(run.energy.end)
        run.on_end(lambda: end(answered=run.error is None))
        return run

    def _draws(self, spec: ModelSpec, tokens: Callable[[], int]) -> Ticket:
        """The emulated NPU draws what the CPU does."""
        profile = self._profiles.find(spec, self.id)
        known = profile.watts.known if profile is not None else None
        kind, device = ("cpu", "CPU") if self.emulated else (self.kind, self.id)
        return self._ledger.begin(device, ASSUMED[kind].watts if known is None else known, tokens)

    def _learn(self, job: ChatJob, lease: Lease, run: Run, finish: Event) -> None:
        """What the next request may expect of this device."""
        if not isinstance(finish, Finish) or run.first_token_at is None or run.energy is None:
            return
        read = finish.prompt_tokens if job.prompt else lease.held.prefixes.unread(job.prompt_ids)
        energy = run.energy.so_far()
        seen = Generated(
            read_tokens=0 if job.grammar is not None else read,  # its first token has waited for the grammar too
            prompt_tokens=finish.prompt_tokens, prefill_s=finish.prefill_s, completion_tokens=run.tokens,
            decode_s=run.progress_at - run.first_token_at, joules=energy.measured, watts=energy.watts,
        )  # fmt: skip
        self._profiles.generated(job.spec, self.id, seen)
        self._profiles.answered(job.spec, finish.completion_tokens)

    def _executed(self, lease: Lease) -> str:
        return f"{lease.held.executed} (emulated)" if self.emulated else lease.held.executed

    # --- embeddings -------------------------------------------------------------------------------------------------

    async def embed(self, job: EmbedJob, route: Route) -> Embeddings:
        began = time.perf_counter()
        lease, slot = await self._admit(job)
        load_s = time.perf_counter() - began - slot.waited_s
        answered, ticket = False, self._draws(job.spec, lambda: job.prompt_tokens)
        try:
            vectors, known = await self._vectors(lease, job)
            answered = True
            start = Start(
                route=structs.replace(route, executed=self._executed(lease)), model_digest=job.spec.shown_digest,
                prompt_tokens=job.prompt_tokens, queue_s=slot.waited_s, load_s=load_s,
            )  # fmt: skip
        finally:
            ticket.end()
            slot.release()
            lease.release(job.request.keep_alive_s, answered=answered)
        energy = ticket.so_far()
        vectors = shortened(vectors, job.request.dimensions)
        return Embeddings(
            vectors=tuple([vector.unit for vector in vectors]), norms=tuple([vector.norm for vector in vectors]),
            prompt_tokens=job.prompt_tokens, start=start,
            total_s=time.perf_counter() - job.began, truncated_tokens=job.truncated_tokens, cached=known,
            energy_j=energy.joules, energy_source=energy.source,
        )  # fmt: skip

    async def _vectors(self, lease: Lease, job: EmbedJob) -> tuple[tuple[wire.Vector, ...], int]:
        """All vectors, and how many were known; the worker embeds the rest."""
        if not (self._config.embedding_cache_size and job.request.placement.cache):
            return (await self._embedded(lease, job, job.ids) if job.ids else ()), 0
        keys, found = self.cache.split(job.spec.load_key, job.ids)
        missing = [place for place, vector in enumerate(found) if vector is None]
        if missing:
            made = await self._embedded(lease, job, tuple(job.ids[place] for place in missing))
            self.cache.put([keys[place] for place in missing], made)
            for place, vector in zip(missing, made, strict=True):
                found[place] = vector
        return tuple(vector for vector in found if vector is not None), len(found) - len(missing)

    async def _embedded(self, lease: Lease, job: EmbedJob, ids: tuple[bytes, ...]) -> tuple[wire.Vector, ...]:
        began = time.perf_counter()
        vectors = await lease.worker.embed(ids)
        tokens = sum([len(text) for text in ids]) // _ID_BYTES
        self._profiles.embedded(job.spec, self.id, tokens, time.perf_counter() - began)
        return vectors


def _add_frame(id: int, job: ChatJob, room: int, eos_ids: frozenset[int]) -> wire.Add:
    """A random seed where none was asked for: the runtime's default gives the same text each time."""
    sampling = job.sampling
    asked = sampling.max_tokens
    return wire.Add(
        id=id, ids=b"" if job.prompt else wire.pack_ids(list(job.prompt_ids)), prompt=job.prompt,
        images=tuple((image.field, image.data) for image in vision.images_of(job.request.messages)),
        max_new_tokens=min(asked, room) if asked is not None and asked > 0 else room,
        temperature=sampling.temperature or 0.0, top_p=sampling.top_p or 1.0, top_k=sampling.top_k or 0,
        min_p=sampling.min_p or 0.0, seed=secrets.randbits(31) if sampling.seed is None else sampling.seed,
        repeat_penalty=sampling.repeat_penalty or 1.0, presence_penalty=sampling.presence_penalty or 0.0,
        frequency_penalty=sampling.frequency_penalty or 0.0, eos_ids=tuple(sorted(eos_ids)), grammar=job.grammar,
        logprobs=job.request.logprobs,
    )  # fmt: skip
