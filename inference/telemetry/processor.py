"""The CPU: temperature of its package, load, clock, memory of the machine, and whether heat slows it down.

Sources: hwmon (Documentation/hwmon/sysfs-interface.rst: temp*_input and temp*_crit in millidegrees), else
thermal_zone*/temp of type x86_pkg_temp; cpu*/thermal_throttle/*_throttle_count (drivers/thermal/intel/therm_throt.c,
events since boot); cpufreq/policy*/scaling_cur_freq in kHz; /proc/stat; /proc/meminfo.
"""

from __future__ import annotations

from msgspec import Struct

from inference.telemetry.counters import Kept, Rate, percent
from inference.telemetry.readings import (
    BYTES,
    CELSIUS,
    MHZ,
    PERCENT,
    DeviceReadings,
    Flag,
    Note,
    Part,
    Reading,
)
from inference.telemetry.sysfs import Files

HWMON, ZONES, CPUS = "/sys/class/hwmon", "/sys/class/thermal", "/sys/devices/system/cpu"
_DRIVERS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_ZONE_TYPES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal")
_LABELS = ("Tdie", "Tctl")
"""AMD's, best first: Tctl has an offset on some parts (Documentation/hwmon/k10temp.rst)."""


NO_SENSOR = Note("CPU temperature: no sensor of the package", "sudo modprobe coretemp (AMD: k10temp)")
NO_SENSOR_IN_GUEST = Note("CPU temperature: virtual machines have no sensor of the package")


class Sensor(Struct, frozen=True):
    path: str
    source: str
    critical_c: float | None = None


def package_sensors(files: Files) -> tuple[Sensor, ...]:
    """One for each package, hwmon's before the thermal zones'."""
    found = [sensor for name in files.entries(HWMON, r"hwmon\d+") for sensor in _of_driver(files, name)]
    if not found:
        for zone in files.entries(ZONES, r"thermal_zone\d+"):
            kind = files.text(f"{ZONES}/{zone}/type", note=False) or ""
            if kind in _ZONE_TYPES:
                found.append(Sensor(f"{ZONES}/{zone}/temp", f"thermal zone {kind}"))
    return tuple(found)


def _of_driver(files: Files, name: str) -> list[Sensor]:
    folder = f"{HWMON}/{name}"
    driver = files.text(f"{folder}/name", note=False) or ""
    if driver not in _DRIVERS:
        return []
    labels = {
        file.removesuffix("_input"): files.text(f"{folder}/{file.removesuffix('_input')}_label", note=False)
        or ""
        for file in files.entries(folder, r"temp\d+_input")
    }
    wanted = [temp for temp, label in labels.items() if label.startswith("Package id")]
    if not wanted:
        best = next((label for label in _LABELS if label in labels.values()), None)
        wanted = [temp for temp, label in labels.items() if label == best] or list(labels)
        wanted = wanted[:1]
    sensors = []
    for temp in wanted:
        critical = files.number(f"{folder}/{temp}_crit", note=False)
        words = f"hwmon {driver}: {labels[temp] or temp}"
        sensors.append(Sensor(f"{folder}/{temp}_input", words, critical / 1000 if critical else None))
    return sensors


class Processor:
    key = "processor"

    def __init__(self, files: Files, kept: Kept) -> None:
        self._files = files
        self._sensors = package_sensors(files)
        self._busy = kept.of("cpu busy", Rate)
        self._total = kept.of("cpu total", Rate)
        self._throttled: dict[str, int] = kept.of("cpu throttled", dict)
        cpu_facts = "" if self._sensors else files.text("/proc/cpuinfo", note=False) or ""
        self._in_guest = " hypervisor" in cpu_facts
        self._counters = _throttle_counters(files)
        self._clocks = [
            f"{CPUS}/cpufreq/{name}/scaling_cur_freq"
            for name in files.entries(f"{CPUS}/cpufreq", r"policy\d+")
        ]

    def read(self, now: float) -> Part:
        temperature, critical = self._temperature(now)
        cpu = DeviceReadings(
            id="CPU", kind="cpu", on_package=True,
            temperature=temperature, temperature_critical=critical,
            utilisation=self._utilisation(now), frequency=self._frequency(now),
            memory_used=self._memory(now), throttling=self._throttling(now),
        )  # fmt: skip
        notes = self._files.take_faults()
        if not self._sensors:
            notes += (NO_SENSOR_IN_GUEST if self._in_guest else NO_SENSOR,)
        return Part(devices=(cpu,), notes=notes)

    def _temperature(self, now: float) -> tuple[Reading, Reading]:
        """The hottest package's, and where it shuts down."""
        hottest, critical = Reading(unit=CELSIUS), Reading(unit=CELSIUS)
        for sensor in self._sensors:
            value = self._files.number(sensor.path)
            if value is not None and (hottest.value is None or value / 1000 > hottest.value):
                hottest = Reading(value / 1000, CELSIUS, sensor.source, now)
                if sensor.critical_c is not None:
                    critical = Reading(sensor.critical_c, CELSIUS, f"{sensor.source}, critical", now)
        return hottest, critical

    def _utilisation(self, now: float) -> Reading:
        """/proc/stat: user nice system idle iowait irq softirq steal, in ticks (proc_stat(5))."""
        words = (self._files.text("/proc/stat") or "").partition("\n")[0].split()
        if len(words) < 9 or words[0] != "cpu" or not all(word.isdigit() for word in words[1:9]):
            return Reading(unit=PERCENT)
        ticks = [int(word) for word in words[1:9]]
        total = self._total.per_s(sum(ticks), now)
        busy = self._busy.per_s(sum(ticks) - ticks[3] - ticks[4], now)
        if not total or busy is None:
            return Reading(unit=PERCENT)
        return Reading(percent(busy / total), PERCENT, "/proc/stat", now)

    def _frequency(self, now: float) -> Reading:
        clocks = [clock for path in self._clocks if (clock := self._files.number(path)) is not None]
        if not clocks:
            return Reading(unit=MHZ)
        return Reading(max(clocks) / 1000, MHZ, "cpufreq: the fastest core", now)

    def _memory(self, now: float) -> Reading:
        sizes = {}
        for line in (self._files.text("/proc/meminfo") or "").splitlines()[:5]:
            name, _, rest = line.partition(":")
            amount = rest.split()
            if amount and amount[0].isdigit():
                sizes[name] = int(amount[0]) * 1024
        if "MemTotal" not in sizes or "MemAvailable" not in sizes:
            return Reading(unit=BYTES)
        return Reading(float(sizes["MemTotal"] - sizes["MemAvailable"]), BYTES, "/proc/meminfo", now)

    def _throttling(self, now: float) -> Flag:
        """True where a counter grew since the last sample; unknown at the first."""
        grown: set[str] = set()
        compared = False
        for path, reason in self._counters:
            count = self._files.number(path)
            before = self._throttled.pop(path, None)
            if count is None:
                continue
            self._throttled[path] = count
            if before is not None:
                compared = True
                if count > before:
                    grown.add(reason)
        if not compared:
            return Flag()
        return Flag(bool(grown), "cpu thermal_throttle counters", now, tuple(sorted(grown)))


def _throttle_counters(files: Files) -> tuple[tuple[str, str], ...]:
    """Every core's counter, and its package's once."""
    counters, packages = [], set()
    for cpu in files.entries(CPUS, r"cpu\d+"):
        folder = f"{CPUS}/{cpu}/thermal_throttle"
        names = files.entries(folder)
        if "core_throttle_count" in names:
            counters.append((f"{folder}/core_throttle_count", "core_thermal"))
        package = files.text(f"{CPUS}/{cpu}/topology/physical_package_id", note=False) or "0"
        if "package_throttle_count" in names and package not in packages:
            packages.add(package)
            counters.append((f"{folder}/package_throttle_count", "package_thermal"))
    return tuple(counters)
