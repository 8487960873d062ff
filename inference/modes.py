"""The efficiency modes: what each prefers and allows, and which of the others Auto stands for (docs/routing.md)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from inference.errors import BadRequest

LOOK_S: Final = 10.0
"""Between two looks of Auto at the machine."""
STABLE_S: Final = 30.0
"""What Auto stands for changes after the state has asked for it for so long."""


class Mode(Struct, frozen=True, kw_only=True):
    """Limits are those of a device that is to answer; None is no limit."""

    name: str
    meaning: str
    order: tuple[str, ...]
    """Classes of devices, the most wanted first."""
    max_watts: float | None = None
    """Binds devices of this machine alone."""
    max_fan_percent: float | None = None
    max_celsius: float | None = None
    binds_critical: bool = True
    """Its limits hold for urgent requests too."""
    slows_critical: bool = False
    """Urgent requests are weighed as all others."""
    saves: bool = False
    """Power counts, time does not."""


PERFORMANCE: Final = Mode(
    name="Performance",
    meaning="fastest",
    order=("dgpu", "igpu", "npu", "cpu"),
    max_celsius=90,
    binds_critical=False,
)
BALANCED: Final = Mode(
    name="Balanced",
    meaning="quick, within 60 W",
    order=("igpu", "dgpu", "npu", "cpu"),
    max_watts=60,
    max_fan_percent=80,
    max_celsius=85,
)
EFFICIENCY: Final = Mode(
    name="Efficiency",
    meaning="lowest power",
    order=("npu", "igpu", "dgpu", "cpu"),
    max_watts=15,
    max_fan_percent=60,
    max_celsius=75,
    slows_critical=True,
    saves=True,
)
QUIET: Final = Mode(
    name="Quiet",
    meaning="least fan noise",
    order=("npu", "igpu", "cpu"),
    max_watts=15,
    max_fan_percent=40,
    max_celsius=70,
    slows_critical=True,
    saves=True,
)
ULTRA_EFFICIENCY: Final = Mode(
    name="UltraEfficiency",
    meaning="longest battery",
    order=("npu", "cpu"),
    max_watts=10,
    max_fan_percent=30,
    max_celsius=65,
    slows_critical=True,
    saves=True,
)
AUTO: Final = "Auto"
MODES: Final = {mode.name: mode for mode in (PERFORMANCE, BALANCED, EFFICIENCY, QUIET, ULTRA_EFFICIENCY)}
NAMES: Final = ("Performance", "Balanced", "Efficiency", "Quiet", AUTO, "UltraEfficiency")
_SPELLED: Final = {name.lower(): name for name in NAMES}


def named(text: str) -> str:
    """One of NAMES, given in any case, with or without spaces and dashes. Raises BadRequest."""
    name = _SPELLED.get(text.lower().replace(" ", "").replace("-", "").replace("_", ""))
    if name is None:
        raise BadRequest(f"mode: {text!r} is none of {', '.join(NAMES)}", "mode")
    return name


class Conditions(Struct, frozen=True, kw_only=True):
    """The state of the machine; None is unknown, and decides nothing."""

    battery_percent: float | None = None
    on_battery: bool | None = None
    celsius: float | None = None
    """Mean of the devices."""
    fan_percent: float | None = None
    """Mean of the fans."""
    quiet_hours: bool = False


class Resolved(Struct, frozen=True, kw_only=True):
    """What Auto stands for."""

    mode: Mode
    reason: str
    """For people."""
    battery: bool = False
    """The battery decided."""


def resolve(now: Conditions) -> Resolved:
    """The first that holds."""
    battery, on_battery = now.battery_percent, bool(now.on_battery)
    if on_battery and battery is not None and battery < 20:
        return Resolved(mode=ULTRA_EFFICIENCY, reason=f"on battery, {battery:.0f} % left", battery=True)
    if on_battery and battery is not None and battery < 50:
        return Resolved(mode=EFFICIENCY, reason=f"on battery, {battery:.0f} % left", battery=True)
    if now.quiet_hours:
        return Resolved(mode=QUIET, reason="quiet hours")
    if now.celsius is not None and now.celsius > 75:
        return Resolved(mode=EFFICIENCY, reason=f"{now.celsius:.0f} °C on average")
    if now.fan_percent is not None and now.fan_percent > 70:
        return Resolved(mode=QUIET, reason=f"fans at {now.fan_percent:.0f} %")
    if on_battery:
        return Resolved(mode=BALANCED, reason="on battery", battery=True)
    return Resolved(mode=PERFORMANCE, reason="nothing speaks against it")


class Efficiency:
    """The mode that was chosen, and the one that counts now. Seconds come from the caller's monotonic clock."""

    def __init__(self, stored: str = AUTO, stable_s: float = STABLE_S) -> None:
        """`stored`: one of NAMES."""
        self._stable_s = stable_s
        self._seen: Conditions | None = None
        self._wanted = resolve(Conditions())
        self._wanted_since = 0.0
        self.choose(stored)

    @property
    def look_s(self) -> float:
        """Between two looks at the machine."""
        return min(LOOK_S, max(1.0, self._stable_s / 3))

    def choose(self, name: str) -> None:
        """Counts at once; Auto by the latest look at the machine."""
        self.stored = name
        self.now = resolve(self._seen or Conditions()) if name == AUTO else _chosen(name)

    def observe(self, conditions: Conditions, seconds: float) -> None:
        """The first look decides; later ones when they have said the same for `stable_s`."""
        first, self._seen = self._seen is None, conditions
        found = resolve(conditions)
        if found.mode is not self._wanted.mode:
            self._wanted_since = seconds
        self._wanted = found
        if self.stored != AUTO:
            return
        if found.mode is self.now.mode or first or seconds - self._wanted_since >= self._stable_s:
            self.now = found


def _chosen(name: str) -> Resolved:
    return Resolved(mode=MODES[name], reason="chosen")
