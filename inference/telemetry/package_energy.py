"""Energy of the CPU package: RAPL through /sys/class/powercap (Documentation/power/powercap/powercap.rst).

Zones intel-rapl:N are packages (AMD's too), intel-rapl:N:M their parts; `energy_uj` counts microjoules and begins anew
at `max_energy_range_uj`. intel-rapl-mmio repeats the same package and counts only where the first is missing. `uncore`
is the package's own graphics. Since the PLATYPUS attack (CVE-2020-8694) energy_uj is readable by root alone.
"""

from __future__ import annotations

import time

from msgspec import Struct

from inference.telemetry.counters import EnergyCounter, Kept
from inference.telemetry.readings import JOULE, WATT, DeviceReadings, Note, Part, Reading
from inference.telemetry.sysfs import Files

CLASS = "/sys/class/powercap"
FORBIDDEN = Note(
    "package energy and power: RAPL may be read by root alone",
    "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj; docs/telemetry.md has the way that outlives a boot",
)
ABSENT = Note("package energy and power: this machine has no RAPL counters; virtual machines hide them")


class Zone(Struct, frozen=True):
    path: str
    range_uj: int
    counter: EnergyCounter


def zones(files: Files, kept: Kept, name: str) -> tuple[Zone, ...]:
    """Those whose name begins with `name`: package-0, package-0-die-1; uncore."""
    for control in ("intel-rapl", "intel-rapl-mmio"):
        found = []
        for folder in files.entries(CLASS, rf"{control}:\d+(:\d+)?"):
            if (files.text(f"{CLASS}/{folder}/name", note=False) or "").startswith(name):
                range_uj = files.number(f"{CLASS}/{folder}/max_energy_range_uj", note=False) or 0
                counter = kept.of(f"energy {folder}", EnergyCounter)
                found.append(Zone(f"{CLASS}/{folder}/energy_uj", range_uj, counter))
        if found:
            return tuple(found)
    return ()


class PackageEnergy:
    key = "package energy"

    def __init__(self, files: Files, kept: Kept) -> None:
        self._files = files
        self._packages = zones(files, kept, "package-")
        self._graphics = zones(files, kept, "uncore")

    def read(self, now: float) -> Part:
        if not self._packages:
            return Part(notes=(ABSENT,))
        if any(self._files.forbidden(zone.path) for zone in self._packages):
            return Part(notes=(FORBIDDEN,))
        energy, power = self._sum(self._packages, "RAPL package", now)
        graphics_energy, graphics_power = self._sum(
            self._graphics, "RAPL uncore, the package's graphics", now
        )
        cpu = DeviceReadings(id="CPU", kind="cpu", energy=energy, power=power)
        return Part(
            devices=(cpu,), graphics_energy=graphics_energy, graphics_power=graphics_power,
            notes=self._files.take_faults(),
        )  # fmt: skip

    def _sum(self, several: tuple[Zone, ...], source: str, now: float) -> tuple[Reading, Reading]:
        """Of all packages; unknown where one of them is."""
        sampled = [zone.counter.sample(self._files.number(zone.path), zone.range_uj, now) for zone in several]
        joules = [energy for energy, _ in sampled if energy is not None]
        watts = [power for _, power in sampled if power is not None]
        if len(several) > 1:
            source = f"{source}, {len(several)} together"
        all_joules = several and len(joules) == len(several)
        all_watts = several and len(watts) == len(several)
        return (
            Reading(sum(joules), JOULE, source, now) if all_joules else Reading(unit=JOULE),
            Reading(sum(watts), WATT, source, now) if all_watts else Reading(unit=WATT),
        )

    def joules(self) -> float | None:
        """Read now, from any thread: a register of the processor."""
        total = 0.0
        for zone in self._packages:
            count = zone.counter.add(
                self._files.number(zone.path, note=False), zone.range_uj, time.monotonic()
            )
            if count is None:
                return None
            total += count
        return total if self._packages else None
