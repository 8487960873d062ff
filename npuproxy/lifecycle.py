"""What lives as long as the server: engine, rows in memory, warm-up, the watch over the WSL switch."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError
from django.urls import get_resolver

from compat_api import pulling
from compat_api.readiness import WARM_UP
from inference import engine as engines
from inference.engine import Engine
from inference.errors import InferenceError
from inference.types import LoadRequest, Placement
from npuproxy import listening
from npuproxy.jobs import Jobs
from npuproxy.page import publisher
from registry import backends, efficiency, store, substitutions
from registry.key_ring import RING
from registry.key_use import USE
from registry.profiles import ProfileRows
from registry.pull_figures import PullFigures
from registry.records import Records
from registry.watching import Watch

if TYPE_CHECKING:
    from npuproxy.grpc.door import Door

logger = logging.getLogger(__name__)

VIEWS_AFTER_S = 0.5

SWITCH_POLL_S = 10.0
EMBEDDING = "embedding"
"""In NPU_PROXY_WARMUP: the model of NPU_PROXY_EMBEDDING_MODEL."""


class Lifecycle:
    """`models` are loaded after the start, on each of `devices` or where the router wants them."""

    def __init__(
        self,
        engine: Engine,
        records: Records,
        models: tuple[str, ...],
        devices: tuple[str, ...],
        port: int,
        grpc: Door | None = None,
    ) -> None:
        self._engine = engine
        self._records = records
        self._profiles = ProfileRows(engine.profiles)
        self._models = models
        self._devices = devices
        self._port = port
        self._grpc = grpc
        self._tasks: list[asyncio.Task[None]] = []
        self._jobs = Jobs()

    async def start(self, adopt: Callable[[socket.socket], None]) -> None:
        """Returns when requests may be answered. `adopt` takes a further listening socket."""
        engines.install(self._engine)
        await asyncio.gather(self._engine.start(), self._profiles.restore())
        mode, servers = efficiency.Follower(self._engine), backends.Follower(self._engine, self._port)
        stand_ins = substitutions.Follower(self._engine)
        records = partial(self._records.follow, self._engine)
        watch = Watch(store.follow, RING.follow, mode.follow, servers.follow, stand_ins.follow, records)
        await watch.look()  # budgets hold from the first load on
        self._run(watch.run())
        self._run(USE.keep())
        self._run(self._records.keep())
        self._run(self._records.requests.keep())
        self._run(publisher.current().run())
        self._run(self._profiles.keep())
        self._run(PullFigures().keep())
        self._run(_open_views())
        self._jobs.start()
        if self._grpc is not None:
            await self._grpc.start()
        if self._models:
            WARM_UP.begin(self._wishes())
            self._run(self._warm_up())
        if sys.platform == "win32":
            self._run(self._follow_switch(adopt))

    async def drain(self, timeout_s: float) -> None:
        pulling.close()
        doors = [] if self._grpc is None else [self._grpc.drain(timeout_s)]
        await asyncio.gather(self._engine.drain(timeout_s), *doors)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._grpc is not None:
            await self._grpc.stop()
        await asyncio.gather(self._jobs.stop(), self._engine.stop())
        await self._records.close()
        await self._profiles.close()
        await USE.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _wishes(self) -> dict[str, tuple[str, str]]:
        """Model and device, '' for the router's, by what people read."""
        return {
            f"{name} on {device}" if device else name: (name, device)
            for name, device in product(self._models, self._devices or ("",))
        }

    async def _warm_up(self) -> None:
        for label, (name, device) in self._wishes().items():
            try:
                spec = await store.find(name)
                wish = LoadRequest(model=name, placement=Placement(device=device, strict=bool(device)))
                loaded = await self._engine.load(spec, wish)
                logger.info("warm-up: %s is loaded on %s", loaded.name, loaded.executed)
                WARM_UP.end(label)
            except (InferenceError, DatabaseError) as error:
                logger.error("warm-up: %s: %s", label, error)
                WARM_UP.end(label, failed=True)

    async def _follow_switch(self, adopt: Callable[[socket.socket], None]) -> None:
        """The WSL switch appears with the first WSL guest and has a new address after a reboot."""
        known = listening.wsl_switch()
        while True:
            await asyncio.sleep(SWITCH_POLL_S)
            found = listening.wsl_switch()
            if found is None or found == known:
                continue
            known = found
            try:
                adopt(listening.listen(str(found.ip), self._port, socket.AF_INET))
                if self._grpc is not None:
                    await self._grpc.listen([(str(found.ip), self._grpc.port)])
                logger.info("listening on the WSL switch too: %s", found.ip)
            except listening.ListenError as error:
                logger.error("%s", error)


async def _open_views() -> None:
    """What answers /api/tags and the pages is imported before somebody waits for it, but after the first chat."""
    await asyncio.sleep(VIEWS_AFTER_S)
    await asyncio.to_thread(lambda: get_resolver().url_patterns)
    gc.freeze()  # as at the start: none of it ever becomes garbage
