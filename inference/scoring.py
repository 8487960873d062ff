"""What a device costs a request, as one number (routing-spec 2.4 and 2.5b): the highest answers. Pure.

L = 1000 - expected wait, load and latency in ms       P = 1000 - 10 * watts
score = 10*priority + wL*L + wP*P - 50*queue + 100*places - heat + quiet
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
        total_s = self.delay_s + self.latency_s
        return total_s if total_s < LONGEST_S else LONGEST_S


class Excess(Struct, frozen=True, kw_only=True, order=True):
    """By how much the worst limit is exceeded, and which. Without a unit: the device throttles."""

    ratio: float
    limit: str
    value: float = 0.0
    most: float = 0.0
    unit: str = ""

    @property
    def figures(self) -> str:
        return f"{self.value:g} {self.unit} of {self.most:g}" if self.unit else "it throttles"


def excess(cost: Cost, limits: Limits) -> Excess | None:
    """The limit that is exceeded most; None within all of them. Heat that the device itself cannot bear counts too."""
    worst: Excess | None = None
    readings = cost.readings
    if limits.latency_s is not None:
        worst = _worse(worst, "latency", cost.total_s, limits.latency_s, "s")
    if limits.watts is not None:
        worst = _worse(worst, "power", cost.watts, limits.watts, "W")
    if limits.local_watts is not None and cost.local:
        worst = _worse(worst, "mode", cost.watts, limits.local_watts, "W")
    if readings is UNKNOWN:
        return worst
    if limits.fan_percent is not None:
        worst = _worse(worst, "mode", readings.fan_percent, limits.fan_percent, "% fan")
    if limits.celsius is not None:
        worst = _worse(worst, "mode", readings.celsius, limits.celsius, "°C")
    bearable = CRITICAL_C if limits.celsius is None else max(CRITICAL_C, limits.celsius)
    worst = _worse(worst, "thermal", readings.celsius, bearable, "°C")
    if readings.throttling:
        throttled = Excess(ratio=2.0, limit="thermal")
        worst = throttled if worst is None else max(worst, throttled)
    return worst


def _worse(worst: Excess | None, limit: str, value: float | None, most: float, unit: str) -> Excess | None:
    if value is None or value <= most:
        return worst
    found = Excess(ratio=value / most, limit=limit, value=value, most=most, unit=unit)
    return found if worst is None else max(worst, found)


class Weighing(Struct, frozen=True, kw_only=True):
    """How much each term counts for one request."""

    by_time: float
    by_power: float
    places: dict[str, int]
    """By class of device: its place in the order of the mode, or of the hint; 0 is the most wanted."""
    place_points: dict[str, float]
    """100 for each place before the last; a class that is not in the order has none."""
    quiet: bool


def weighing(mode: Mode, *, urgent: bool, sparing: bool) -> Weighing:
    """A hint has its own order of devices, where the mode lets it: who asks for little power means the NPU, whatever is
    fastest."""
    saves = mode.saves
    if urgent and not mode.slows_critical:
        by_time, by_power, purpose = 2.0, 0.0, PERFORMANCE
    elif sparing or saves:
        by_time, by_power, purpose = 0.0, 1.5, mode if saves else EFFICIENCY
    else:
        by_time, by_power, purpose = (2.0, 0.0, mode) if mode.name == "Performance" else (0.5, 0.5, mode)
    order = purpose.order
    return Weighing(
        by_time=by_time,
        by_power=by_power,
        places={kind: place for place, kind in enumerate(order)},
        place_points={kind: 100.0 * (len(order) - 1 - place) for place, kind in enumerate(order)},
        quiet=purpose.name == "Quiet",
    )


def score(cost: Cost, weighing: Weighing) -> float:
    """The highest wins. `terms` says of what it is the sum."""
    total_s = cost.delay_s + cost.latency_s
    if total_s > LONGEST_S:
        total_s = LONGEST_S
    points = (
        10.0 * cost.priority
        + weighing.by_time * (1000 - 1000 * total_s)
        + weighing.by_power * (1000 - 10 * cost.watts)
        - 50.0 * cost.queue
        + weighing.place_points.get(cost.kind, 0.0)
    )
    readings = cost.readings
    return points if readings is UNKNOWN else points + _quiet(readings, weighing) - _heat(readings)


class Terms(Struct, frozen=True, kw_only=True):
    """What a score is the sum of, for people."""

    priority: float
    time: float
    power: float
    queue: float
    place: float
    heat: float
    quiet: float


def terms(cost: Cost, weighing: Weighing) -> Terms:
    return Terms(
        priority=10.0 * cost.priority,
        time=weighing.by_time * (1000 - 1000 * cost.total_s),
        power=weighing.by_power * (1000 - 10 * cost.watts),
        queue=0.0 - 50.0 * cost.queue,
        place=weighing.place_points.get(cost.kind, 0.0),
        heat=0.0 - _heat(cost.readings),
        quiet=_quiet(cost.readings, weighing),
    )


def _quiet(readings: Readings, weighing: Weighing) -> float:
    fan = readings.fan_percent
    return 200.0 if weighing.quiet and fan is not None and fan < 40 else 0.0


def _heat(readings: Readings) -> float:
    heat = 0.0
    celsius, fan, utilization = readings.celsius, readings.fan_percent, readings.utilization_percent
    if celsius is not None and celsius > WARN_C:
        heat += 1000 * ((celsius - WARN_C) / (CRITICAL_C - WARN_C)) ** 2
    if fan is not None and fan > 85:
        heat += 5 * (fan - 85)
    if utilization is not None and utilization > 80:
        heat += 10 * (utilization - 80)
    return heat
