"""From the readings of the machine to what decides: the conditions of the mode Auto, and the heat of each device."""

from __future__ import annotations

import re

from msgspec import Struct

from inference import scoring
from inference.modes import Conditions
from inference.telemetry.readings import DeviceReadings, Readings

_HOURS = re.compile(r"(\d{1,2})-(\d{1,2})")


class QuietHours(Struct, frozen=True):
    """From an hour of the day to another, local time; past midnight where the second is smaller."""

    begin: int
    end: int

    def holds(self, hour: int) -> bool:
        if self.begin <= self.end:
            return self.begin <= hour < self.end
        return hour >= self.begin or hour < self.end


_USUAL = QuietHours(22, 7)
"""Of a machine that has a battery, where nobody has said anything else."""


def quiet_hours(text: str) -> QuietHours | None:
    """`22-7`, or `off` for None. Raises ValueError that says what is expected."""
    if text.lower() == "off":
        return None
    found = _HOURS.fullmatch(text.replace(" ", ""))
    if found is None or max(int(found[1]), int(found[2])) > 24:
        raise ValueError("two hours of the day such as 22-7, or off")
    return QuietHours(int(found[1]) % 24, int(found[2]) % 24)


def conditions(readings: Readings, hours: str, hour: int) -> Conditions:
    """`hours`: as `quiet_hours` reads them, or ''. `hour`: of the day, local time."""
    quiet = quiet_hours(hours) if hours else _USUAL if readings.battery.value is not None else None
    return Conditions(
        battery_percent=readings.battery.value,
        on_battery=readings.on_battery.value,
        celsius=readings.mean_temperature.value,
        fan_percent=readings.mean_fan.value,
        quiet_hours=quiet is not None and quiet.holds(hour),
    )


def heat(readings: Readings, device: str) -> scoring.Readings:
    """Of one device, by OpenVINO's name. Its power now says nothing of its power at work, and is left out."""
    found = readings.of(device)
    if found is None:
        return scoring.UNKNOWN
    return scoring.Readings(
        celsius=found.temperature.value,
        fan_percent=_fan(readings, found),
        utilization_percent=found.utilisation.value,
        throttling=bool(found.throttling.value),
    )


def _fan(readings: Readings, device: DeviceReadings) -> float | None:
    """A card's own, else those of the machine."""
    own = device.fan.value
    return own if own is not None or device.kind == "dgpu" else readings.mean_fan.value
