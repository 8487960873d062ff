"""The one sampler: every five seconds, every two while somebody watches, in threads of its own.

1. A source that has not answered within HANG_S is left behind with its thread and asked again when it has come back;
   the others are read meanwhile, and its last readings grow old until they count as unknown (compose.STALE_S).
2. Devices are searched for when the kernel's lists changed, and each minute.
3. `readings()` never waits: it is the last whole picture.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from inference.telemetry import sources
from inference.telemetry.compose import compose
from inference.telemetry.counters import Kept
from inference.telemetry.package_energy import PackageEnergy
from inference.telemetry.reader import Batch, Job, Reader
from inference.telemetry.readings import JOULE, Note, Part, Reading, Readings
from inference.telemetry.sources import Source
from inference.telemetry.sysfs import Files

logger = logging.getLogger(__name__)

EVERY_S, WATCHED_EVERY_S, FIRST_S = 5.0, 2.0, 1.0
"""FIRST_S: from the first sample to the second, with which loads and watts are known."""
WATCHED_FOR_S = 10.0
SEARCH_EVERY_S = 60.0
HANG_S = 1.0
_SEARCH = "search for devices"


class Sampler:
    """From any thread, all of it."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._readings = Readings()
        self._watched_until = 0.0
        self._wake = threading.Event()
        self._stopped = False
        self._started = False
        self._kept = Kept()
        self._sources: tuple[Source, ...] = ()
        self._package: PackageEnergy | None = None
        self._parts: dict[str, Part] = {}
        self._running: set[str] = set()
        """What a reader is in: after a round, what hangs."""
        self._told: set[str] = set()
        """Of what the log has already said that it hangs."""
        self._reader: Reader | None = None
        self._present: object = None
        self._searched = 0.0
        self._files = Files(root)

    def start(self) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="telemetry", daemon=True).start()

    def stop(self) -> None:
        """Asks the threads to end and waits for none of them."""
        self._stopped = True
        self._wake.set()

    def readings(self) -> Readings:
        """The last picture; before the first sample one in which nothing is known."""
        return self._readings

    def watch(self) -> None:
        """Somebody looks: for ten seconds from now, samples come every two seconds."""
        now = time.monotonic()
        news = now > self._watched_until
        self._watched_until = now + WATCHED_FOR_S
        if news:
            self._wake.set()

    def energy(self, device: str) -> Reading:
        """Joules so far of what `device` draws from, for differences: the package's, read now (microseconds, no wait),
        or for a card of its own the card's, as of the last sample."""
        found = self._readings.of(device)
        if found is None:
            return Reading(unit=JOULE)
        if not found.on_package:
            return found.energy
        package = self._package
        # while a reader is in that source, it may be one that hangs: who asks here must not
        joules = package.joules() if package is not None and package.key not in self._running else None
        if joules is None:
            return Reading(unit=JOULE)
        return Reading(joules, JOULE, "RAPL package", time.monotonic())

    # --- inside: the sampler's thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        samples = 0
        while not self._stopped:
            began = time.monotonic()
            try:
                self._sample(began)
            except Exception:  # the thread must outlive a fault of one sample
                logger.exception("a sample failed")
            samples += 1
            self._rest(began, samples)
        if self._reader is not None:
            self._reader.end()

    def _rest(self, began: float, samples: int) -> None:
        while not self._stopped:
            now = time.monotonic()
            every = WATCHED_EVERY_S if now < self._watched_until else EVERY_S
            left = began + (FIRST_S if samples == 1 else every) - now
            if left <= 0:
                return
            self._wake.wait(left)
            self._wake.clear()

    def _sample(self, now: float) -> None:
        present = sources.present(self._files)
        if present != self._present or now - self._searched >= SEARCH_EVERY_S:
            self._present, self._searched = present, now
            self._read(((_SEARCH, self._search),))
        self._read(tuple((source.key, partial(self._ask, source)) for source in self._sources))
        notes = tuple(
            Note(f"{key}: no answer for over {HANG_S:.0f} s; asked again when it comes back")
            for key in sorted(self._running)
        )
        keys = [source.key for source in self._sources]
        parts = [self._parts[key] for key in keys if key in self._parts]
        self._readings = compose(parts, notes, time.monotonic())

    def _read(self, jobs: tuple[Job, ...]) -> None:
        """All of them, or all but those that hang."""
        left = tuple((name, self._noted(name, job)) for name, job in jobs if name not in self._running)
        while left and not self._stopped:
            if self._reader is None:
                self._reader = Reader()
            batch = Batch(left)
            self._reader.take(batch)
            stuck = batch.wait(HANG_S)
            if not stuck:
                return
            level = logging.DEBUG if stuck in self._told else logging.WARNING
            logger.log(level, "%s does not answer within %g s; the others are read without it", stuck, HANG_S)
            self._told.add(stuck)
            left, self._reader = batch.give_up(), None

    def _noted(self, name: str, job: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self._running.add(name)
            try:
                job()
            finally:
                self._running.discard(name)

        return run

    # --- inside: a reader's thread ----------------------------------------------------------------------------------

    def _search(self) -> None:
        found = sources.search(self._root, self._kept)
        self._package = next((source for source in found if isinstance(source, PackageEnergy)), None)
        self._sources = found

    def _ask(self, source: Source) -> None:
        self._parts[source.key] = source.read(time.monotonic())
