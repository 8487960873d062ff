"""What a device costs a request, as one number (routing-spec 2.4 and 2.5b): the highest answers. Pure.

L = 1000 - expected wait, load and latency in ms       P = 1000 - 10 * watts
score = 10*priority + wL*L + wP*P - 50*queue + places - heat + quiet
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from inference.modes import EFFICIENCY, PERFORMANCE, Mode

LONGEST_S: Final = 60.0
WARN_C: Final = 70.0
CRITICAL_C: Final = 85.0


class Traits(Struct, frozen=True, kw_only=True):
    """What is assumed of a class of devices until it was measured."""

    watts: float
    latency_s: float
    priority: int


ASSUMED: Final = {
    "npu": Traits(watts=3, latency_s=0.8, priority=1),
    "igpu": Traits(watts=12, latency_s=0.35, priority=5),
    "dgpu": Traits(watts=55, latency_s=0.15, priority=10),
    "cpu": Traits(watts=28, latency_s=1.2, priority=2),
}


class Readings(Struct, frozen=True, kw_only=True):
    """Of one device; None is unknown, and neither helps nor harms."""

    watts: float | None = None
    celsius: float | None = None
    fan_percent: float | None = None
    utilization_percent: float | None = None
    throttling: bool = False


UNKNOWN: Final = Readings()


class Limits(Struct, frozen=True, kw_only=True):
    """What a request and the mode allow; None is no limit."""

    latency_s: float | None = None
    watts: float | None = None
    local_watts: float | None = None
    fan_percent: float | None = None
    celsius: float | None = None


class Cost(Struct, frozen=True, kw_only=True):
    """What is known of a candidate when it is compared."""

    kind: str
    local: bool
    delay_s: float
    """Wait and load."""
    latency_s: float
    """Of the answer, once it runs."""
    watts: float
    priority: int
    queue: int
    readings: Readings = UNKNOWN

    @property
    def total_s(self) -> float:
        return min(self.delay_s + self.latency_s, LONGEST_S)


class Excess(Struct, frozen=True, kw_only=True, order=True):
    """By how much the worst limit is exceeded, and which."""

    ratio: float
    limit: str
    figures: str


def excess(cost: Cost, limits: Limits) -> Excess | None:
    """The limit that is exceeded most; None within all of them. Heat that the device itself cannot bear counts too."""
    worst: Excess | None = None
    for limit, value, most, unit in _bounds(cost, limits):
        if value is not None and most is not None and value > most:
            found = Excess(ratio=value / most, limit=limit, figures=f"{value:g} {unit} of {most:g}")
            worst = found if worst is None else max(worst, found)
    if cost.readings.throttling:
        throttled = Excess(ratio=2.0, limit="thermal", figures="it throttles")
        worst = throttled if worst is None else max(worst, throttled)
    return worst


def _bounds(cost: Cost, limits: Limits) -> tuple[tuple[str, float | None, float | None, str], ...]:
    asked = (
        ("latency", cost.total_s, limits.latency_s, "s"),
        ("power", cost.watts, limits.watts, "W"),
        ("mode", cost.watts, limits.local_watts if cost.local else None, "W"),
    )
    readings = cost.readings
    if readings is UNKNOWN:
        return asked
    bearable = CRITICAL_C if limits.celsius is None else max(CRITICAL_C, limits.celsius)
    return (
        *asked,
        ("mode", readings.fan_percent, limits.fan_percent, "% fan"),
        ("mode", readings.celsius, limits.celsius, "°C"),
        ("thermal", readings.celsius, bearable, "°C"),
    )


def purpose(mode: Mode, *, urgent: bool, sparing: bool) -> Mode:
    """Whose order of devices counts: a hint's own, where the mode lets it: who asks for little power means the NPU,
    whatever is fastest."""
    if urgent and not mode.slows_critical:
        return PERFORMANCE
    return EFFICIENCY if sparing and not mode.saves else mode


def weights(mode: Mode, *, urgent: bool, sparing: bool) -> tuple[float, float]:
    """Of time and of power."""
    if urgent and not mode.slows_critical:
        return 2.0, 0.0
    if sparing or mode.saves:
        return 0.0, 1.5
    return (2.0, 0.0) if mode.name == "Performance" else (0.5, 0.5)


def score(cost: Cost, mode: Mode, weighing: tuple[float, float]) -> float:
    """The highest wins."""
    by_time, by_power = weighing
    places = mode.order[::-1].index(cost.kind) if cost.kind in mode.order else 0
    readings = cost.readings
    quiet = mode.name == "Quiet" and readings.fan_percent is not None and readings.fan_percent < 40
    return (
        10 * cost.priority
        + by_time * (1000 - cost.total_s * 1000)
        + by_power * (1000 - 10 * cost.watts)
        - 50 * cost.queue
        + 100 * places
        - _heat(readings)
        + (200 if quiet else 0)
    )


def _heat(readings: Readings) -> float:
    heat = 0.0
    if readings.celsius is not None and readings.celsius > WARN_C:
        heat += 1000 * ((readings.celsius - WARN_C) / (CRITICAL_C - WARN_C)) ** 2
    if readings.fan_percent is not None:
        heat += 5 * max(0.0, readings.fan_percent - 85)
    if readings.utilization_percent is not None:
        heat += 10 * max(0.0, readings.utilization_percent - 80)
    return heat
