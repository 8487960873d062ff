"""The devices of this machine: found with a worker's first word, and watched from then on.

A process sees the devices that were there when it began, so a fresh worker is asked: a few seconds after the kernel's
lists changed and once more when a driver has had time to settle, after a failure on a device that may have gone, and
every few minutes. It becomes the spare. What came is used from then on; what went stays listed, is not available, and
is used again when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from inference.backend import Backend
from inference.backends.local import LocalBackend
from inference.config import EngineConfig
from inference.energy import Ledger
from inference.errors import InferenceError
from inference.pool import Pool
from inference.profiles import Profiles
from inference.telemetry.sysfs import Files
from inference.texts import Texts

logger = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""Between two looks at the kernel's lists: some 50 microseconds in a thread."""
SETTLE_S: Final = (0.0, 10.0)
"""After a change: at once, and when a driver has loaded its firmware and rights were given."""
TROUBLE_S: Final = 30.0
"""Between two questions for the sake of failures."""
EVERY_S: Final = 600.0
"""A worker's start costs 0.6 s of one core (measured), 0.1 % of it."""
EMULATED: Final = "NPU emulated on the CPU"
FIND_AGAIN_S: Final = 10.0
"""While no worker can be started."""
_CLASSES: Final = ("/sys/class/accel", "/sys/class/drm")
_NODES: Final = ("/dev/accel", "/dev/dri")


class AskTimes:
    """When a fresh worker is to be asked. Pure: seconds are the caller's, of one clock."""

    def __init__(self, now: float) -> None:
        self._asked = now
        self._due = [now + EVERY_S]

    def changed(self, now: float) -> None:
        """The kernel lists other devices than before."""
        self._due += [now + pause for pause in SETTLE_S]

    def trouble(self, at: float) -> None:
        """A device failed then."""
        if at > self._asked:
            self._due.append(max(at, self._asked + TROUBLE_S))

    def is_due(self, now: float) -> bool:
        return min(self._due) <= now

    def asked(self, now: float) -> None:
        """What was due until now is done."""
        self._asked = now
        self._due = [*(due for due in self._due if due > now and due < now + EVERY_S), now + EVERY_S]


class DeviceWatch:
    """Fills and follows `backends`. Event loop only."""

    def __init__(
        self,
        config: EngineConfig,
        pool: Pool,
        texts: Texts,
        profiles: Profiles,
        ledger: Ledger,
        backends: dict[str, Backend],
        emulated: set[str],
    ) -> None:
        """`emulated`: gets the name of the NPU where NPU_PROXY_NPU_EMULATION makes one."""
        self._config = config
        self._pool = pool
        self._texts = texts
        self._profiles = profiles
        self._ledger = ledger
        self._backends = backends
        self._emulated = emulated
        self._files = Files(config.sysfs_root)
        self._news = False
        """A worker saw other devices than the one before: what it saw may have been over by the next look."""
        pool.spare.on_devices = self._found

    async def known(self) -> dict[str, Backend]:
        """Waits for the first worker's word. Raises LoadFailed."""
        if not self._backends:
            await self._pool.spare.devices()
        return self._backends

    async def run(self) -> None:
        """Until it is cancelled."""
        seen = await asyncio.to_thread(self._lists)
        await self._find()
        times, self._news = AskTimes(time.monotonic()), False
        while True:
            await asyncio.sleep(LOOK_S)
            now, before = time.monotonic(), seen
            seen = await asyncio.to_thread(self._lists)
            if seen != before or self._news:
                self._news = False
                times.changed(now)
            times.trouble(self._pool.history.trouble_at)
            if times.is_due(now):
                await self._ask()
                times.asked(now)

    async def _find(self) -> None:
        """So that they are seen before the first request, and a fault is mended without one."""
        while True:
            try:
                await self.known()
                return
            except InferenceError as error:
                logger.error("%s", error)
                await asyncio.sleep(FIND_AGAIN_S)

    async def _ask(self) -> None:
        try:
            await self._pool.spare.renew()
        except (OSError, TimeoutError, InferenceError) as error:
            logger.warning("the devices could not be listed again: %s", error)

    def _lists(self) -> tuple[object, ...]:
        """What the kernel lists and what we may open of it; a driver that comes late changes both."""
        roots = dict.fromkeys((self._config.sysfs_root, Path("/")))  # in a container /dev is its own
        nodes = [Path(root, folder.lstrip("/")) for root in roots for folder in _NODES]
        return (
            *(tuple(self._files.entries(folder)) for folder in _CLASSES),
            *(_openable(folder) for folder in nodes),
        )

    # --- what a worker saw ------------------------------------------------------------------------------------------

    def _found(self, devices: Mapping[str, str]) -> None:
        """Id -> full name, of every device that the runtime sees now."""
        if (
            not self._backends
            and self._config.npu_emulation
            and not any(id.startswith("NPU") for id in devices)
        ):
            self._emulated.add("NPU")
        real = {id: name for id, name in devices.items() if id not in self._emulated}
        for id, full_name in {**dict.fromkeys(self._emulated, EMULATED), **real}.items():
            backend = self._backends.get(id)
            if backend is None:
                self._backends[id], self._news = self._made(id, full_name), True
            elif isinstance(backend, LocalBackend) and not backend.available:
                backend.available = self._news = True
                logger.info("%s is back", id)
        for backend in self._backends.values():
            if isinstance(backend, LocalBackend) and not (backend.emulated or backend.id in real):
                self._gone(backend)

    def _gone(self, backend: LocalBackend) -> None:
        if backend.available:
            backend.available, self._news = False, True
            self._pool.leave(backend.id)
            logger.warning("%s has gone: requests go to other devices until it is back", backend.id)

    def _made(self, id: str, full_name: str) -> LocalBackend:
        logger.info("found %s: %s", id, full_name)
        return LocalBackend(
            id, full_name, emulated=id in self._emulated,
            config=self._config, pool=self._pool, texts=self._texts, profiles=self._profiles, ledger=self._ledger,
        )  # fmt: skip


def _openable(folder: Path) -> tuple[tuple[str, bool], ...]:
    try:
        with os.scandir(folder) as found:
            return tuple(sorted((entry.name, os.access(entry.path, os.R_OK | os.W_OK)) for entry in found))
    except OSError:
        return ()
