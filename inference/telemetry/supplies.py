"""Battery and charger.

Linux: /sys/class/power_supply (Documentation/ABI/testing/sysfs-class-power): `type`, `scope` (a mouse's battery has
Device), `online` (1 and 2 are), `capacity` in percent, `energy_*` in microwatt-hours, `charge_*` in microampere-hours.
Windows and macOS: psutil.
"""

from __future__ import annotations

from collections.abc import Iterable

import psutil
from msgspec import Struct

from inference.telemetry.readings import PERCENT, Flag, Note, Part, Reading
from inference.telemetry.sysfs import Files

CLASS = "/sys/class/power_supply"
ELSEWHERE = Note(
    "temperatures, fans, package energy, NPU and Intel GPU: this system shows them to no ordinary program"
)


class Battery(Struct, frozen=True):
    """One battery of the machine. `full`: what it holds, in microwatt-hours; None where it does not say."""

    name: str
    percent: float
    full: float | None
    status: str


class PowerSupplies:
    """Every supply is looked at anew each time: they are few, and come and go."""

    key = "power supplies"

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self, now: float) -> Part:
        batteries: list[Battery] = []
        chargers: list[tuple[str, str, bool]] = []
        for name in self._files.entries(CLASS):
            kind = self._text(name, "type")
            if kind is None or self._text(name, "scope") == "Device":
                continue
            if kind == "Battery":
                if (battery := self._battery(name)) is not None:
                    batteries.append(battery)
            elif kind != "UPS" and (online := self._files.number(f"{CLASS}/{name}/online")) is not None:
                chargers.append((name, kind, online > 0))
        return Part(
            battery=charge(batteries, now), on_battery=discharging(batteries, chargers, now),
            notes=self._files.take_faults(),
        )  # fmt: skip

    def _text(self, name: str, field: str) -> str | None:
        return self._files.text(f"{CLASS}/{name}/{field}")

    def _number(self, name: str, field: str) -> int | None:
        """Of a file that need not be there, but must be right."""
        return self._files.number(f"{CLASS}/{name}/{field}")

    def _battery(self, name: str) -> Battery | None:
        if self._number(name, "present") == 0:
            return None
        full, left = self._number(name, "energy_full"), self._number(name, "energy_now")
        if full is None or left is None:
            full, left = self._number(name, "charge_full"), self._number(name, "charge_now")
            volts = self._number(name, "voltage_min_design") or 0
            weight = full * volts / 1e6 if full and volts else None
        else:
            weight = float(full)
        percent: float | None = None
        if full and left is not None and left >= 0:
            percent = 100.0 * left / full
        else:
            capacity = self._number(name, "capacity")
            percent = None if capacity is None else float(capacity)
        if percent is None or percent < 0:
            return None
        return Battery(name, min(100.0, percent), weight, self._text(name, "status") or "")


def charge(batteries: list[Battery], now: float) -> Reading:
    """Of all together: each counts by what it holds, equally where one does not say."""
    if not batteries:
        return Reading(unit=PERCENT)
    weights = [battery.full or 0.0 for battery in batteries]
    if not all(weights):
        weights = [1.0] * len(batteries)
    total = sum(battery.percent * weight for battery, weight in zip(batteries, weights, strict=True))
    names = " and ".join(battery.name for battery in batteries)
    return Reading(total / sum(weights), PERCENT, f"power_supply {names}", now)


def discharging(batteries: list[Battery], chargers: Iterable[tuple[str, str, bool]], now: float) -> Flag:
    """A charger that is online decides, the mains' own before USB ports; without any the batteries' status does.

    Unknown on a machine with neither: a virtual machine may well run on its host's battery.
    """
    every = list(chargers)
    counted = [one for one in every if one[1] == "Mains"] or every
    if counted and (batteries or any(online for _, _, online in counted)):
        names = " and ".join(name for name, _, _ in counted)
        return Flag(not any(online for _, _, online in counted), f"power_supply {names}", now)
    told = [battery for battery in batteries if battery.status not in ("", "Unknown")]
    if not told:
        return Flag()
    names = " and ".join(battery.name for battery in told)
    return Flag(
        any(battery.status == "Discharging" for battery in told), f"power_supply {names}: status", now
    )


class SystemBattery:
    """What psutil asks the system for, where there is no sysfs."""

    key = "power supplies"

    def read(self, now: float) -> Part:
        found = psutil.sensors_battery()
        if found is None:
            return Part(notes=(ELSEWHERE,))
        plugged = found.power_plugged
        return Part(
            battery=Reading(float(found.percent), PERCENT, "psutil", now),
            on_battery=Flag() if plugged is None else Flag(not plugged, "psutil", now),
            notes=(ELSEWHERE,),
        )
