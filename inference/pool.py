"""Which models are in memory, on which device, and for how long.

lease       a model that is kept: loaded when it is not, by one load for all who ask meanwhile
release     by Lease.release(keep_alive); the last one starts the clock of expires_at
room        least recently used first, never one in use or pinned; a newcomer waits for the users of its victim
spare       one worker, started and imported, so that a load costs no process start
crash       the entry is gone at once, the breaker counts it, the next lease loads anew; what is to stay, at once
cache       a load that fails with its compile cache is tried once more without
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from inference import compile_cache, integrity, memory
from inference.compile_cache import CompileCacheKey, CompileCacheUse
from inference.config import EngineConfig
from inference.errors import (
    InferenceError,
    LoadFailed,
    ModelDamaged,
    NoRoom,
    QueueTimeout,
    ShuttingDown,
    WorkerDied,
    runtime_words,
)
from inference.held import Held
from inference.load_frame import load_frame
from inference.load_history import LoadHistory
from inference.process import WorkerProcess
from inference.profiles import Profiles
from inference.reports import LoadReport
from inference.room import Room, cost_of
from inference.spare import SpareWorker
from inference.types import ModelSpec
from inference.worker import messages as wire

logger = logging.getLogger(__name__)


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
                pool.history.breaker(self.held.key).answered()
            pool._released(self.held, keep_alive_s)


class Pool:
    """All workers of this server. Event loop only."""

    def __init__(
        self, config: EngineConfig, emulated: Callable[[str], bool], on_load: Callable[[LoadReport], None],
        profiles: Profiles,
    ) -> None:  # fmt: skip
        self.spare = SpareWorker(config)
        self.room = Room(config)
        self.history = LoadHistory(profiles)
        self._config = config
        self._emulated = emulated
        self._on_load = on_load
        self._held: dict[tuple[str, str], Held] = {}
        self._making_room = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopping = False

    # --- what the router reads ------------------------------------------------------------------------------------

    def plan(self, spec: ModelSpec, device: str) -> memory.MemoryPlan:
        """As it is loaded, else as it would be. Raises LoadFailed for a model that can never fit."""
        held = self._held.get((spec.load_key, device))
        return held.plan if held is not None else self.room.plan(spec, device)

    def peek(self, spec: ModelSpec, device: str) -> Held | None:
        return self._held.get((spec.load_key, device))

    def held(self) -> tuple[Held, ...]:
        return tuple(self._held.values())

    def used_bytes(self) -> int:
        return cost_of(held for held in self.held() if held.admitted)

    def fits(self, spec: ModelSpec, device: str, plan: memory.MemoryPlan) -> bool:
        return self.room.fits(spec, device, plan.cost_bytes, self._held.values())

    def rest_of_load_s(self, spec: ModelSpec, device: str) -> float:
        """0 when ready; else the last load's time, or an assumed one, less what has passed."""
        held = self._held.get((spec.load_key, device))
        if held is not None and held.is_ready:
            return 0.0
        whole = self.history.load_s(spec, device)
        return max(0.01, whole - (time.monotonic() - held.began)) if held is not None else whole

    # --- leases ---------------------------------------------------------------------------------------------------

    async def lease(self, spec: ModelSpec, device: str, keep_alive_s: float | None = None) -> Lease:
        """Raises LoadFailed, ModelDamaged, WorkerDied. A load goes on when the one who asked for it leaves.

        `keep_alive_s` is what the page shows while the lease runs; what counts is said at its release.
        """
        while True:
            if self._stopping:
                raise ShuttingDown
            held = self._held.get((spec.load_key, device))
            if held is not None and held.evicting:
                await self._something_changed()
                continue
            if held is None:
                held = self._begin_load(spec, device)
            held.asked_by(spec)
            held.users += 1
            try:
                await asyncio.shield(held.ready)
            except BaseException:
                held.users -= 1
                raise
            if held.worker is not None and held.worker.alive():
                held.stop_clock()
                held.keep_alive_s = self._config.keep_alive_s if keep_alive_s is None else keep_alive_s
                return Lease(self, held, held.worker)
            held.users -= 1
            await asyncio.sleep(0)

    def _begin_load(self, spec: ModelSpec, device: str) -> Held:
        held = Held(spec, device, self.plan(spec, device))
        held.keep_alive_s = self._config.keep_alive_s
        self._held[held.key] = held
        self._in_background(self._load(held))
        return held

    async def _load(self, held: Held) -> None:
        try:
            await self._make_room(held)
            cache = await self._load_with_cache(held)
        except InferenceError as error:
            await self._load_failed(held, error)
            return
        assert held.worker is not None
        self.history.loaded(held.spec, held.device, held.load_s)
        held.worker.on_death = lambda: self._died(held)
        held.ready.set_result(None)
        name = held.spec.name
        logger.info("loaded %s on %s (runs on %s) in %.2f s", name, held.device, held.executed, held.load_s)
        label = f"{held.executed} (emulated)" if self._emulated(held.device) else held.executed
        self._on_load(
            LoadReport(model=name, device=held.device, executed=label, load_s=held.load_s, cache=cache)
        )
        self._notify()
        if held.users == 0:
            self._released(held, held.keep_alive_s, users=0)

    async def _load_with_cache(self, held: Held) -> CompileCacheUse | None:
        """A cache that was filled and does not load is removed, and built again once."""
        key = await self._cache_key(held)
        if key is None:
            await self._hand_over(held, "")
            return None
        assert self._config.cache_dir is not None
        path = key.folder(self._config.cache_dir)
        filled = await asyncio.to_thread(compile_cache.prepare, path)
        try:
            await self._hand_over(held, str(path))
        except (LoadFailed, WorkerDied) as error:
            if not filled or self._stopping:
                await asyncio.to_thread(compile_cache.clear, path)
                raise
            logger.warning(
                "%s did not load on %s with its compile cache, which is built again: %s",
                held.spec.name, held.device, runtime_words(str(error), *held.paths),
            )  # fmt: skip
            if held.worker is not None:
                await held.worker.close()
            await asyncio.to_thread(compile_cache.clear, path)
            await self._hand_over(held, str(path))
        return await asyncio.to_thread(compile_cache.used, key, path)

    async def _cache_key(self, held: Held) -> CompileCacheKey | None:
        if self._config.cache_dir is None or not compile_cache.has_cache(held.device):
            return None
        await self.spare.devices()
        return CompileCacheKey(
            digest=held.spec.digest, device=held.device,
            driver="emulated" if self._emulated(held.device) else self.spare.driver(held.device),
            openvino=self.spare.openvino,
        )  # fmt: skip

    async def _hand_over(self, held: Held, cache_dir: str) -> None:
        worker = held.worker = await self.spare.take()
        held.began = time.monotonic()
        frame = load_frame(held.spec, held.device, held.plan, cache_dir, self._emulated(held.device))
        loaded: wire.Loaded
        loaded, _ = await asyncio.gather(worker.load(frame), asyncio.to_thread(integrity.verify, held.spec))
        held.load_s = time.monotonic() - held.began
        held.executed = loaded.executed or held.device

    async def _load_failed(self, held: Held, error: InferenceError) -> None:
        if self._held.get(held.key) is held:
            del self._held[held.key]
        if isinstance(error, WorkerDied):
            self.history.crashed(held)
        elif isinstance(error, LoadFailed) and not isinstance(error, NoRoom):
            words = runtime_words(str(error), *held.paths)
            error = LoadFailed(f"model '{held.spec.name}' could not be loaded on {held.device}: {words}")
            self.history.failed(held.key, str(error))
        level = logging.ERROR if isinstance(error, ModelDamaged) else logging.WARNING
        logger.log(level, "%s", error)
        if held.worker is not None:
            await held.worker.close()
        held.ready.set_exception(error)
        held.ready.exception()  # nobody may be waiting
        self._notify()

    # --- room -----------------------------------------------------------------------------------------------------

    async def _make_room(self, newcomer: Held) -> None:
        """Unloads until the newcomer fits, waiting for busy ones; first come, first served.

        Raises NoRoom, and QueueTimeout where NPU_PROXY_QUEUE_TIMEOUT bounds the wait.
        """
        async with self._making_room:
            while (victim := self.room.victim(newcomer, self._held.values())) is not None:
                if victim == "wait":
                    await self._something_changed()
                    continue
                if not await self._let_go(victim, "to make room", self._config.queue_timeout_s):
                    words = f"no room for '{newcomer.spec.name}' on {newcomer.device}: '{victim.spec.name}' was in use"
                    raise QueueTimeout(f"{words} for longer than NPU_PROXY_QUEUE_TIMEOUT")
            newcomer.admitted = True

    async def drop(self, held: Held, why: str) -> None:
        """Ends the worker; returns when its memory is free."""
        held.stop_clock()
        if self._held.get(held.key) is held:
            del self._held[held.key]
        if held.worker is not None:
            await held.worker.close()
        logger.info("unloaded %s from %s %s", held.spec.name, held.device, why)
        self._notify()

    async def unload(self, load_key: str) -> bool:
        """Every copy of a model, pinned or not, after its running requests. False when it was not loaded."""
        copies = [held for held in self._held.values() if held.key[0] == load_key]
        for held in copies:  # to its end even when who asked leaves: a model that is to go takes no requests
            await asyncio.shield(self._in_background(self._let_go(held, "as asked")))
        return bool(copies)

    async def _let_go(self, held: Held, why: str, within_s: float = 0.0) -> bool:
        """False, and all is as before, when its requests ran for longer than that; 0: no bound."""
        with contextlib.suppress(InferenceError):
            await asyncio.shield(held.ready)
        held.evicting = True
        try:
            async with asyncio.timeout(within_s or None):
                while held.users and self._held.get(held.key) is held:
                    await self._something_changed()
        except TimeoutError:
            held.evicting = False
            self._notify()
            return False
        if self._held.get(held.key) is held:
            await self.drop(held, why)
        return True

    def leave(self, device: str) -> None:
        """Every model of a device that has gone, after its running requests: none of them will see it come back."""
        for held in self.held():
            if held.device == device and not held.evicting:
                held.evicting = True
                self._in_background(self._let_go(held, "since it has gone"))

    def follow(self, models: Mapping[str, ModelSpec]) -> None:
        """What the registry says of its models now: a pin stops the clock, its end starts it; a model without a name
        goes after its running requests, whichever process removed it."""
        for held in self.held():
            if held.follow(models) and held.ready.done():
                held.start_clock(self._expired)
            if held.is_orphan and not held.evicting:
                held.evicting = True
                self._in_background(self._let_go(held, "since it was removed"))

    def _released(self, held: Held, keep_alive_s: float | None, users: int = 1) -> None:
        held.users -= users
        held.last_used = time.monotonic()
        held.keep_alive_s = self._config.keep_alive_s if keep_alive_s is None else keep_alive_s
        held.start_clock(self._expired)
        self._notify()

    def _expired(self, held: Held) -> None:
        if held.users == 0 and not held.pinned and self._held.get(held.key) is held:
            held.evicting = True
            self._in_background(self.drop(held, "after its keep_alive"))

    def _died(self, held: Held) -> None:
        if self._held.get(held.key) is held:
            del self._held[held.key]
        held.stop_clock()
        self.history.crashed(held)
        if held.stays and not self._stopping and not self.history.breaker_s(held.key):
            with contextlib.suppress(InferenceError):
                self._begin_load(held.spec, held.device).replaces(held)
        self._notify()

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the spare worker; the devices are known with its hello."""
        self.spare.start()

    async def stop(self) -> None:
        """Ends every worker, loading ones and the spare included."""
        self._stopping = True
        for held in self.held():
            held.stop_clock()
        workers = [held.worker for held in self.held() if held.worker is not None]
        await asyncio.gather(
            self.spare.stop(), *(worker.close() for worker in workers), return_exceptions=True
        )
        for task in self._tasks:
            task.cancel()
        self._held.clear()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _something_changed(self) -> None:
        await self._changed.wait()

    def _in_background(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
