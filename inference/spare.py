"""One worker that is started and imported before anyone needs it, so that a load costs no process start."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import psutil

from inference import process, spawn
from inference.config import EngineConfig
from inference.errors import InferenceError, LoadFailed, WorkerDied
from inference.process import WorkerProcess

REFILL_DELAY_S = 1.0
"""After a worker was taken: its import would compete with the load and the first answer for the cores."""


class SpareWorker:
    """`take()` gives a worker that waits for its model. Event loop only."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._spare: asyncio.Task[WorkerProcess] | None = None
        self._refill: asyncio.TimerHandle | None = None
        self._devices: dict[str, str] | None = None
        self._drivers: dict[str, str] = {}
        self._memory: dict[str, int] = {}
        self.failed = False
        """The last try to start a worker, made for somebody who waited, came to nothing."""
        self.on_devices: Callable[[Mapping[str, str]], None] = lambda devices: None
        """Told what each fresh worker sees, by its first word: id -> full name."""
        self.openvino = ""
        """Version of the runtime, known with the first worker's hello."""
        self._begun = self._told = 0
        """The number of the worker that was started last, and of the one whose word counts: the latest that spoke."""
        self._stopping = False
        self._started: set[WorkerProcess] = set()
        """Every worker that lives, taken ones too: none is left behind at the stop."""

    def start(self) -> None:
        if self._spare is None and not self._stopping:
            self._spare = asyncio.get_running_loop().create_task(self._start_worker())
            self._spare.add_done_callback(lambda task: task.cancelled() or task.exception())

    def known_devices(self) -> dict[str, str]:
        """Id -> full name of what the runtime saw last; empty until the first worker said hello."""
        return self._devices or {}

    def driver(self, device: str) -> str:
        """Version of the device's driver; '' where the runtime does not tell."""
        return self._drivers.get(device, "")

    def memory_bytes(self, device: str) -> int | None:
        """What the device has; a CPU has the machine's. None where the runtime does not tell."""
        return self._memory.get(device)

    async def devices(self) -> dict[str, str]:
        """Waits for the first worker's hello. Raises LoadFailed when no worker can be started."""
        if self._devices is None:
            self.start()
            assert self._spare is not None
            try:
                await asyncio.shield(self._spare)
            except (OSError, TimeoutError, InferenceError) as error:
                self._spare, self.failed = None, True
                raise LoadFailed(f"a worker process could not be started: {error}") from None
        self.failed = False
        return self.known_devices()

    async def take(self) -> WorkerProcess:
        """The spare, or a fresh worker when it is gone. Raises LoadFailed."""
        spare, self._spare = self._spare, None
        if self._refill is not None:
            self._refill.cancel()
        self._refill = asyncio.get_running_loop().call_later(REFILL_DELAY_S, self.start)
        with contextlib.suppress(OSError, TimeoutError, InferenceError):
            if spare is not None and (worker := await spare).alive():
                worker.on_death = None
                return worker
        try:
            worker = await self._start_worker()
            worker.on_death = None
            return worker
        except (OSError, TimeoutError, WorkerDied) as error:
            raise LoadFailed(f"a worker process could not be started: {error}") from None

    async def renew(self) -> None:
        """Starts a worker in the place of the spare, which sees what was there at its own start.

        Raises OSError, TimeoutError, LoadFailed or WorkerDied; the spare stays then.
        """
        fresh = asyncio.get_running_loop().create_task(self._start_worker())
        await asyncio.shield(fresh)
        before, self._spare = self._spare, fresh
        if before is not None:
            with contextlib.suppress(OSError, TimeoutError, InferenceError):
                await (await before).close()

    async def stop(self) -> None:
        self._stopping = True
        if self._refill is not None:
            self._refill.cancel()
        await asyncio.gather(*(worker.close() for worker in tuple(self._started)), return_exceptions=True)
        if self._spare is not None:
            with contextlib.suppress(OSError, TimeoutError, InferenceError):
                await (await self._spare).close()

    def _died(self) -> None:
        """The waiting spare ended: another one, a moment later."""
        self._spare = None
        if not self._stopping:
            self._refill = asyncio.get_running_loop().call_later(REFILL_DELAY_S, self.start)

    async def _start_worker(self) -> WorkerProcess:
        config = self._config
        self._begun = number = self._begun + 1
        worker = await spawn.spawn(
            loopback=config.loopback_channel,
            log_dir=config.log_dir,
            inference_timeout_s=config.inference_timeout_s,
        )
        self._started.add(worker)
        worker.ended.add_done_callback(lambda _: self._started.discard(worker))
        if self._stopping:  # while it started
            await worker.close()
            raise LoadFailed("the server is stopping")
        worker.on_death = self._died
        hello = await asyncio.wait_for(asyncio.shield(worker.hello), process.START_DEADLINE_S)
        if number > self._told:  # one that began earlier saw what was there earlier
            self._told, self._devices = number, dict(hello.devices)
            self._drivers, self.openvino = dict(hello.drivers), hello.openvino
            self._memory = {"CPU": psutil.virtual_memory().total, **dict(hello.memory)}
            self.on_devices(self._devices)
        return worker
