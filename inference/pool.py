"""Which models are in memory, on which device, and for how long.

lease       a model that is kept: loaded when it is not, by one load for all who ask meanwhile
release     by Lease.release(keep_alive); the last one starts the clock of expires_at
room        least recently used first, never one in use; a newcomer waits for the users of its victim
spare       one worker, started and imported, so that a load costs no process start
crash       the entry is gone at once, the breaker counts it, the next lease loads anew
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from inference import integrity, memory
from inference.breaker import Breaker
from inference.config import EngineConfig
from inference.errors import (
    InferenceError,
    LoadFailed,
    ModelDamaged,
    ShuttingDown,
    WorkerDied,
    runtime_words,
)
from inference.process import WorkerProcess
from inference.spare import SpareWorker
from inference.types import FOREVER, ModelSpec
from inference.worker import messages as wire

logger = logging.getLogger(__name__)

LOAD_FAILURE_S = 30.0
"""A device that refused a model is passed over for this long."""
ASSUMED_LOAD_S = {"NPU": 120.0, "GPU": 20.0}
CPU_LOAD_BYTES_PER_S = 200e6

Key = tuple[str, str]


class Held:
    """One model on one device, loading or ready."""

    def __init__(self, spec: ModelSpec, device: str, plan: memory.MemoryPlan) -> None:
        self.spec = spec
        self.device = device
        self.plan = plan
        self.worker: WorkerProcess | None = None
        self.executed = ""
        self.load_s = 0.0
        self.users = 0
        self.evicting = False
        self.keep_alive_s = 0.0
        self.expires_at: float | None = None
        self.last_used = time.monotonic()
        self.began = time.monotonic()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_ready(self) -> bool:
        return self.ready.done() and self.worker is not None and self.worker.alive()


class Lease:
    """Keeps a model in memory until it is released."""

    def __init__(self, pool: Pool, held: Held, worker: WorkerProcess) -> None:
        self.held = held
        self.worker = worker
        self._pool: Pool | None = pool

    def release(self, keep_alive_s: float | None = None, *, answered: bool = False) -> None:
        """None: the server's default; 0: unload now; FOREVER: keep. `answered`: the worker did what was asked."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            if answered:
                pool._breaker((self.held.spec.digest, self.held.device)).answered()
            pool._released(self.held, keep_alive_s)


class Pool:
    """All workers of this server. Event loop only."""

    def __init__(self, config: EngineConfig, emulated: Callable[[str], bool]) -> None:
        self.budget = config.memory_budget_bytes or memory.default_budget()
        self.spare = SpareWorker(config)
        self._config = config
        self._emulated = emulated
        self._held: dict[Key, Held] = {}
        self._breakers: dict[Key, Breaker] = {}
        self._failed: dict[Key, tuple[float, str]] = {}
        self._load_times: dict[Key, float] = {}
        self._room = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    # --- what the router reads ------------------------------------------------------------------------------------

    def plan(self, spec: ModelSpec, device: str) -> memory.MemoryPlan:
        held = self._held.get((spec.digest, device))
        if held is not None:
            return held.plan
        context = memory.context_of(spec, self._config.context_length)
        return memory.plan(
            spec, device, budget=self.budget, context=context, max_prompt_len=self._config.max_prompt_len
        )

    def peek(self, spec: ModelSpec, device: str) -> Held | None:
        return self._held.get((spec.digest, device))

    def held(self) -> tuple[Held, ...]:
        return tuple(self._held.values())

    def used_bytes(self) -> int:
        return sum(held.plan.cost_bytes for held in self._held.values())

    def breaker_s(self, spec: ModelSpec, device: str) -> float:
        breaker = self._breakers.get((spec.digest, device))
        return breaker.retry_after_s() if breaker else 0.0

    def load_failure(self, spec: ModelSpec, device: str) -> str:
        at, message = self._failed.get((spec.digest, device), (0.0, ""))
        return message if message and time.monotonic() - at < LOAD_FAILURE_S else ""

    def rest_of_load_s(self, spec: ModelSpec, device: str) -> float:
        """0 when ready; else the last load's time, or an assumed one, less what has passed."""
        key = (spec.digest, device)
        held = self._held.get(key)
        if held is not None and held.is_ready:
            return 0.0
        whole = self._load_times.get(key) or self._assumed_load_s(spec, device)
        return max(0.01, whole - (time.monotonic() - held.began)) if held is not None else whole

    def _assumed_load_s(self, spec: ModelSpec, device: str) -> float:
        device_class = device.partition(".")[0]
        return ASSUMED_LOAD_S.get(device_class, spec.size_bytes / CPU_LOAD_BYTES_PER_S)

    # --- leases ---------------------------------------------------------------------------------------------------

    async def lease(self, spec: ModelSpec, device: str, keep_alive_s: float | None = None) -> Lease:
        """Raises LoadFailed, ModelDamaged, WorkerDied. A load goes on when the one who asked for it leaves.

        `keep_alive_s` is what the page shows while the lease runs; what counts is said at its release.
        """
        while True:
            if self._stopping:
                raise ShuttingDown
            held = self._held.get((spec.digest, device))
            if held is not None and held.evicting:
                await self._something_changed()
                continue
            if held is None:
                held = self._begin_load(spec, device)
            held.users += 1
            try:
                await asyncio.shield(held.ready)
            except BaseException:
                held.users -= 1
                raise
            if held.worker is not None and held.worker.alive():
                self._stop_timer(held)
                held.keep_alive_s = self._config.keep_alive_s if keep_alive_s is None else keep_alive_s
                return Lease(self, held, held.worker)
            held.users -= 1
            await asyncio.sleep(0)

    def _begin_load(self, spec: ModelSpec, device: str) -> Held:
        held = Held(spec, device, self.plan(spec, device))
        held.keep_alive_s = self._config.keep_alive_s
        self._held[spec.digest, device] = held
        self._in_background(self._load(held))
        return held

    async def _load(self, held: Held) -> None:
        spec, key = held.spec, (held.spec.digest, held.device)
        try:
            await self._make_room(held)
            worker = held.worker = await self.spare.take()
            held.began = time.monotonic()
            loaded, _ = await asyncio.gather(
                worker.load(self._load_frame(held)), asyncio.to_thread(integrity.verify, spec)
            )
        except InferenceError as error:
            await self._load_failed(held, error)
            return
        held.load_s = time.monotonic() - held.began
        held.executed = loaded.executed or held.device
        self._load_times[key] = held.load_s
        self._failed.pop(key, None)
        worker.on_death = lambda: self._died(held)
        held.ready.set_result(None)
        logger.info(
            "loaded %s on %s (runs on %s) in %.2f s", spec.name, held.device, held.executed, held.load_s
        )
        if held.users == 0:
            self._released(held, None, users=0)

    async def _load_failed(self, held: Held, error: InferenceError) -> None:
        key = (held.spec.digest, held.device)
        if self._held.get(key) is held:
            del self._held[key]
        if isinstance(error, WorkerDied):
            self._breaker(key).crashed()
        elif isinstance(error, LoadFailed):
            self._failed[key] = (time.monotonic(), str(error))
            words = runtime_words(str(error), str(held.spec.path))
            error = LoadFailed(f"model '{held.spec.name}' could not be loaded on {held.device}: {words}")
        level = logging.ERROR if isinstance(error, ModelDamaged) else logging.WARNING
        logger.log(level, "%s", error)
        if held.worker is not None:
            await held.worker.close()
        held.ready.set_exception(error)
        held.ready.exception()  # nobody may be waiting
        self._notify()

    def _load_frame(self, held: Held) -> wire.Load:
        spec, plan = held.spec, held.plan
        npu = held.device.startswith("NPU")
        role: wire.Role = "embedding" if spec.kind == "embedding" else "static" if npu else "batching"
        cache = self._config.cache_dir
        return wire.Load(
            role=role, path=str(spec.path), device=held.device, exact=spec.exact,
            emulated=self._emulated(held.device), kv_blocks=plan.kv_blocks, max_prompt_len=plan.max_prompt_len,
            min_response_len=plan.min_response_len, cache_dir=str(cache / spec.digest) if cache else "",
            pooling=spec.pooling, normalize=spec.normalize,
            max_length=spec.context_length if spec.kind == "embedding" else 0,
        )  # fmt: skip

    # --- room -----------------------------------------------------------------------------------------------------

    async def _make_room(self, newcomer: Held) -> None:
        """Unloads until the newcomer fits, waiting for busy ones; first come, first served."""
        async with self._room:
            while (victim := self._victim(newcomer)) is not None:
                victim.evicting = True
                while victim.users and (victim.spec.digest, victim.device) in self._held:
                    await self._something_changed()
                await self.drop(victim, "to make room")

    def _victim(self, newcomer: Held) -> Held | None:
        others = [held for held in self._held.values() if held is not newcomer and held.ready.done()]
        if newcomer.device.startswith("NPU") and newcomer.spec.kind == "chat":
            same = [held for held in others if held.device == newcomer.device and held.spec.kind == "chat"]
            if len(same) >= self._config.npu_models:
                return min(same, key=_eviction_order)
        if self.used_bytes() <= self.budget:
            return None
        return min(others, key=_eviction_order, default=None)

    async def drop(self, held: Held, why: str) -> None:
        """Ends the worker; returns when its memory is free."""
        self._stop_timer(held)
        if self._held.get((held.spec.digest, held.device)) is held:
            del self._held[held.spec.digest, held.device]
        if held.worker is not None:
            await held.worker.close()
        logger.info("unloaded %s from %s %s", held.spec.name, held.device, why)
        self._notify()

    async def unload(self, digest: str) -> bool:
        """Every copy of a model, after its running requests. False when it was not loaded."""
        copies = [held for held in self._held.values() if held.spec.digest == digest]
        for held in copies:
            with contextlib.suppress(InferenceError):
                await asyncio.shield(held.ready)
            held.evicting = True
            while held.users and self._held.get((digest, held.device)) is held:
                await self._something_changed()
            if self._held.get((digest, held.device)) is held:
                await self.drop(held, "as asked")
        return bool(copies)

    def _released(self, held: Held, keep_alive_s: float | None, users: int = 1) -> None:
        held.users -= users
        held.last_used = time.monotonic()
        held.keep_alive_s = self._config.keep_alive_s if keep_alive_s is None else keep_alive_s
        self._stop_timer(held)
        if held.keep_alive_s == FOREVER:
            held.expires_at = None
        else:
            held.expires_at = time.time() + held.keep_alive_s
            if held.users == 0:
                held.timer = asyncio.get_running_loop().call_later(held.keep_alive_s, self._expired, held)
        self._notify()

    def _expired(self, held: Held) -> None:
        if held.users == 0 and self._held.get((held.spec.digest, held.device)) is held:
            held.evicting = True
            self._in_background(self.drop(held, "after its keep_alive"))

    def _stop_timer(self, held: Held) -> None:
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None

    # --- crashes --------------------------------------------------------------------------------------------------

    def _breaker(self, key: Key) -> Breaker:
        return self._breakers.setdefault(key, Breaker())

    def _died(self, held: Held) -> None:
        key = (held.spec.digest, held.device)
        if self._held.get(key) is held:
            del self._held[key]
        self._stop_timer(held)
        self._breaker(key).crashed()
        self._notify()

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the spare worker; the devices are known with its hello."""
        self.spare.start()

    async def stop(self) -> None:
        """Ends every worker, loading ones and the spare included."""
        self._stopping = True
        for held in self.held():
            self._stop_timer(held)
        workers = [held.worker for held in self.held() if held.worker is not None]
        await asyncio.gather(
            self.spare.stop(), *(worker.close() for worker in workers), return_exceptions=True
        )
        for task in self._tasks:
            task.cancel()
        self._held.clear()

    # --- waiting for a change ---------------------------------------------------------------------------------------

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _something_changed(self) -> None:
        await self._changed.wait()

    def _in_background(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _eviction_order(held: Held) -> tuple[bool, float]:
    """Idle before busy, then least recently used."""
    return held.users > 0, held.last_used
