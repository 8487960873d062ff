"""What is remembered of each model on each device: how long loads took, which failed, which workers crashed."""

from __future__ import annotations

import time

import msgspec
from msgspec import Struct

from inference import metrics
from inference.breaker import Breaker
from inference.held import Held, Key
from inference.profiles import Profiles
from inference.states import BreakerState
from inference.types import ModelSpec

LOAD_FAILURE_S = 30.0
"""A device that refused a model is passed over for this long."""
ASSUMED_LOAD_S = {"NPU": 120.0, "GPU": 20.0}
CPU_LOAD_BYTES_PER_S = 200e6


class Crashes(Struct, frozen=True):
    """Of one model on one device, since the start. Times are Unix."""

    name: str
    count: int
    at: float
    """Of the last one."""
    restarted_at: float | None = None
    """When a worker was ready again; None: none is yet."""


class LoadHistory:
    """Since the start of this server, but for the times of loads. Event loop only."""

    def __init__(self, profiles: Profiles) -> None:
        """`profiles` are told of loads, and know those of earlier servers."""
        self._profiles = profiles
        self._breakers: dict[Key, Breaker] = {}
        self._crashed: dict[Key, Crashes] = {}
        self._failed: dict[Key, tuple[float, str]] = {}
        self._load_times: dict[Key, float] = {}
        self.trouble_at = 0.0
        """time.monotonic() of the last failure on a device that may come and go: on any but the CPU."""

    def crashed(self, held: Held) -> None:
        """Its worker ended unasked."""
        metrics.restarted(held.spec.name, held.device)
        before = self._crashed.get(held.key)
        self._crashed[held.key] = Crashes(held.spec.name, before.count + 1 if before else 1, time.time())
        self.breaker(held.key).crashed()
        self._trouble(held.key)

    def breaker(self, key: Key) -> Breaker:
        return self._breakers.setdefault(key, Breaker())

    def breakers(self) -> tuple[BreakerState, ...]:
        """Of what has crashed. From any thread."""
        return tuple(
            BreakerState(
                name=crashes.name,
                load_key=key[0],
                device=key[1],
                state=self._breakers[key].state,
                retry_after_s=self._breakers[key].retry_after_s(),
                crashes=crashes.count,
                crashed_at=crashes.at,
                restarted_at=crashes.restarted_at,
            )
            for key, crashes in tuple(self._crashed.items())
        )

    def _trouble(self, key: Key) -> None:
        if key[1] != "CPU":
            self.trouble_at = time.monotonic()

    def breaker_s(self, key: Key) -> float:
        """Seconds until the breaker lets a try through."""
        breaker = self._breakers.get(key)
        return breaker.retry_after_s() if breaker else 0.0

    def loaded(self, spec: ModelSpec, device: str, load_s: float) -> None:
        key = (spec.load_key, device)
        self._load_times[key] = load_s
        self._failed.pop(key, None)
        crashes = self._crashed.get(key)
        if crashes is not None and crashes.restarted_at is None:
            self._crashed[key] = msgspec.structs.replace(crashes, restarted_at=time.time())
        self._profiles.loaded(spec, device, load_s)

    def failed(self, key: Key, message: str) -> None:
        self._failed[key] = (time.monotonic(), message)
        self._trouble(key)

    def failure(self, key: Key) -> str:
        """Why the device refused the model a moment ago; '' when it did not."""
        at, message = self._failed.get(key, (0.0, ""))
        return message if message and time.monotonic() - at < LOAD_FAILURE_S else ""

    def refused(self) -> frozenset[str]:
        """Load keys that any device refused a moment ago. From any thread."""
        return frozenset(key[0] for key in tuple(self._failed) if self.failure(key))

    def load_s(self, spec: ModelSpec, device: str) -> float:
        """The last load's time, or an earlier server's median, or an assumed one."""
        known = self._load_times.get((spec.load_key, device))
        profile = self._profiles.find(spec, device)
        if known or (profile is not None and (known := profile.load_s.median)):
            return known
        return ASSUMED_LOAD_S.get(device.partition(".")[0], spec.size_bytes / CPU_LOAD_BYTES_PER_S)
