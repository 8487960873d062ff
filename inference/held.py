"""A model in memory: one worker, loading or ready, and every name that it serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from inference import metrics
from inference.errors import WorkerDied
from inference.memory import KV_BLOCK_TOKENS, MemoryPlan
from inference.prefix_memory import PrefixMemory
from inference.process import WorkerProcess
from inference.types import FOREVER, ModelSpec

Key = tuple[str, str]
"""Load key and device."""


class Held:
    """One worker with its model on one device. Event loop only."""

    def __init__(self, spec: ModelSpec, device: str, plan: MemoryPlan) -> None:
        self.spec = spec
        """As it was loaded."""
        self.key: Key = (spec.load_key, device)
        self.device = device
        self.plan = plan
        self.worker: WorkerProcess | None = None
        self.executed = ""
        self.load_s = 0.0
        self.users = 0
        self.admitted = False
        """Room was made for it: it counts against the budgets."""
        self.evicting = False
        self.is_orphan = False
        """No name that asked for it is left in the registry: removed, or replaced by other files."""
        self.pinned = spec.pinned
        self.keep_alive_s = 0.0
        self.expires_at: float | None = None
        self.last_used = time.monotonic()
        self.began = time.monotonic()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(self._count_load)
        self.prefixes = PrefixMemory(
            KV_BLOCK_TOKENS["GPU" if device.startswith("GPU") else "CPU"], plan.kv_blocks
        )
        self._specs: dict[str, ModelSpec] = {spec.name: spec}
        self._timer: asyncio.TimerHandle | None = None

    def _count_load(self, ready: asyncio.Future[None]) -> None:
        if ready.cancelled():
            return
        if (error := ready.exception()) is None:
            metrics.loaded(self.spec.name, self.device, self.load_s)
        else:
            metrics.load_failed(self.spec.name, self.device, crashed=isinstance(error, WorkerDied))

    @property
    def is_ready(self) -> bool:
        return self.ready.done() and self.worker is not None and self.worker.alive()

    @property
    def paths(self) -> tuple[str, ...]:
        """What it is loaded from, the model's folder first; no client is shown them."""
        return (str(self.spec.path), *(str(adapter.path) for adapter in self.spec.adapters))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that asked for it since it was loaded, the last one first."""
        return tuple(reversed(self._specs))

    def asked_by(self, spec: ModelSpec) -> None:
        """Names with the same files share a worker."""
        self._specs.pop(spec.name, None)
        self._specs[spec.name] = spec
        self.pinned = self.pinned or spec.pinned

    @property
    def stays(self) -> bool:
        """Nobody has to ask for it to be in memory."""
        return (self.pinned or self.keep_alive_s == FOREVER) and not self.evicting

    def replaces(self, dead: Held) -> None:
        """What was asked of the one whose worker died is asked of this one."""
        self._specs = dict(dead._specs)
        self.pinned = dead.pinned
        self.keep_alive_s = dead.keep_alive_s

    def follow(self, models: Mapping[str, ModelSpec]) -> bool:
        """What the registry now says of these names. True when a pin came or went."""
        kept = {
            name: models[name]
            for name in self._specs
            if name in models and models[name].load_key == self.spec.load_key
        }
        self.is_orphan = not kept
        self._specs = kept or self._specs
        before, self.pinned = self.pinned, any(spec.pinned for spec in kept.values())
        return before != self.pinned

    def start_clock(self, expired: Callable[[Held], None]) -> None:
        """From now on keep_alive counts; a pinned model stays."""
        self.stop_clock()
        if self.pinned or self.keep_alive_s == FOREVER:
            self.expires_at = None
            return
        self.expires_at = time.time() + self.keep_alive_s
        if self.users == 0 and self.ready.done():
            self._timer = asyncio.get_running_loop().call_later(self.keep_alive_s, expired, self)

    def stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
