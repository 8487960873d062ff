"""Intel GPUs of the drivers i915 and xe, below /sys/class/drm/card*.

hwmon (Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon and -xe-hwmon): i915 has temp1_input, energy1_input,
fan1_input; xe temp2_input (package), energy1_input (card) or energy2_input (package), fan1_input …; millidegrees,
microjoules, rpm. Clocks: i915 gt/gt0/rps_act_freq_mhz or gt_cur_freq_mhz (gt/intel_gt_sysfs_pm.c); xe
device/tile0/gt0/freq0/act_freq (xe_gt_freq.c), both in MHz. Load: the time not spent in RC6, which i915 tells in
gt/gt0/rc6_residency_ms and xe in device/tile0/gt0/gtidle/idle_residency_ms (xe_gt_idle.c). Throttling:
throttle_reason_* and freq0/throttle/reason_* (xe_gt_throttle.c), 0 or 1 each.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct, structs

from inference.telemetry.counters import EnergyCounter, Kept, Rate, percent
from inference.telemetry.readings import (
    CELSIUS,
    JOULE,
    MHZ,
    PERCENT,
    RPM,
    WATT,
    DeviceReadings,
    Flag,
    Kind,
    Note,
    Part,
    Reading,
)
from inference.telemetry.runtime_power import RuntimePower, sleeping
from inference.telemetry.sysfs import Files

CLASS = "/sys/class/drm"
DRIVERS = ("i915", "xe")
_INTEGRATED = "0000:00:02.0"
"""Where every integrated GPU of Intel's is; a card sits behind a bridge."""
_HEAT = frozenset(
    ("thermal", "prochot", "ratl", "vr_thermalert", "vr_tdc", "soc_thermal", "mem_thermal", "vr_thermal",
     "soc_avg_thermal")
)  # fmt: skip
"""Reasons that are heat; pl1, pl2, pl4 and their like are power limits, which every loaded laptop meets."""


class Card(NamedTuple):
    id: str
    kind: Kind
    driver: str
    address: str
    folder: str


class CardFiles(Struct, frozen=True):
    """Full paths; '' for what this card does not have."""

    temperature: str = ""
    energy: str = ""
    fans: tuple[str, ...] = ()
    clock: str = ""
    idle: str = ""
    throttle: str = ""
    """The folder of the reasons, with their prefix."""
    status: str = ""


def cards(files: Files) -> tuple[Card, ...]:
    """Named as OpenVINO does: the integrated one first, then by address; GPU where there is one, else GPU.0, GPU.1."""
    found = []
    for name in files.entries(CLASS, r"card\d+"):
        facts = files.uevent(f"{CLASS}/{name}/device")
        if facts.get("DRIVER") in DRIVERS:
            address = facts.get("PCI_SLOT_NAME", name)
            kind = _kind(files, f"{CLASS}/{name}", address)
            found.append((kind != "igpu", address, kind, facts["DRIVER"], f"{CLASS}/{name}"))
    several = len(found) > 1
    return tuple(
        Card(f"GPU.{index}" if several else "GPU", kind, driver, address, folder)
        for index, (_, address, kind, driver, folder) in enumerate(sorted(found))
    )


def _kind(files: Files, folder: str, address: str) -> Kind:
    """A virtual machine may have put a card at the integrated GPU's address: memory of its own gives it away."""
    if address != _INTEGRATED or files.exists(f"{folder}/device/vram_d3cold_threshold"):
        return "dgpu"
    return "dgpu" if any("vram" in label for label in _labels(files, folder).values()) else "igpu"


def _hwmon(files: Files, folder: str) -> str:
    """The folder of the card's own hwmon, not of one of its tiles (i915_gt0)."""
    for name in files.entries(f"{folder}/device/hwmon", r"hwmon\d+"):
        found = f"{folder}/device/hwmon/{name}"
        if files.text(f"{found}/name", note=False) in DRIVERS:
            return found
    return ""


def _labels(files: Files, folder: str) -> dict[str, str]:
    """temp2 -> pkg"""
    hwmon = _hwmon(files, folder)
    names = [file.removesuffix("_input") for file in files.entries(hwmon, r"temp\d+_input")] if hwmon else []
    return {name: files.text(f"{hwmon}/{name}_label", note=False) or "" for name in names}


def card_files(files: Files, card: Card) -> CardFiles:
    folder, device, hwmon = card.folder, f"{card.folder}/device", _hwmon(files, card.folder)
    labels = _labels(files, folder)
    temps = [name for name, label in labels.items() if label == "pkg"]
    temps += [name for name in (("temp2", "temp1") if card.driver == "xe" else ("temp1",)) if name in labels]
    counts = set(files.entries(hwmon, r"(energy|fan)\d+_input")) if hwmon else set()
    energy = next((name for name in ("energy1_input", "energy2_input") if name in counts), "")

    def first(*paths: str) -> str:
        return next((path for path in paths if files.exists(path)), "")

    tile = f"{device}/tile0/gt0"
    status = first(f"{tile}/freq0/throttle/status", f"{folder}/gt/gt0/throttle_reason_status")
    return CardFiles(
        temperature=f"{hwmon}/{temps[0]}_input" if temps else "",
        energy=f"{hwmon}/{energy}" if energy else "",
        fans=tuple(f"{hwmon}/{name}" for name in sorted(counts) if name.startswith("fan")),
        clock=first(
            f"{tile}/freq0/act_freq", f"{tile}/freq0/cur_freq",
            f"{folder}/gt/gt0/rps_act_freq_mhz", f"{folder}/gt_act_freq_mhz", f"{folder}/gt_cur_freq_mhz",
        ),
        idle=first(
            f"{tile}/gtidle/idle_residency_ms", f"{folder}/gt/gt0/rc6_residency_ms",
            f"{folder}/power/rc6_residency_ms",
        ),
        throttle=status.removesuffix("status") + ("reason_" if status.endswith("/status") else ""),
        status=status,
    )  # fmt: skip


class IntelGpu:
    """One card. It is not asked while it sleeps, and rarely while it could fall asleep."""

    def __init__(self, files: Files, kept: Kept, card: Card) -> None:
        self.key = f"GPU {card.address}"
        self._files = files
        self._card = card
        self._paths = card_files(files, card)
        self._idle = kept.of(f"idle {card.address}", Rate)
        self._energy = kept.of(f"energy {card.address}", EnergyCounter)
        self._power = kept.of(
            f"runtime power {card.address}", lambda: RuntimePower(Files(files.root), f"{card.folder}/device")
        )
        self._last: dict[str, Part] = kept.of(f"part {card.address}", dict)

    def read(self, now: float) -> Part:
        card = self._card
        name = f"Intel GPU ({card.driver})"
        if self._power.asleep():
            self._idle.per_s(None, now)
            words = Note(f"{card.id} sleeps: its sensors are read when it is awake")
            part = Part(devices=(sleeping(card.id, card.kind, name, card.address, now),), notes=(words,))
        elif self._power.may_ask(now) or "part" not in self._last:
            device = self._device(name, now)
            self._power.asked(device.utilisation.value, now)
            part = Part(devices=(device,), notes=self._files.take_faults())
        else:
            return self._last["part"]
        self._last["part"] = part
        return part

    def _device(self, name: str, now: float) -> DeviceReadings:
        card, paths = self._card, self._paths
        number = self._files.number
        device = DeviceReadings(
            id=card.id, kind=card.kind, name=name, address=card.address, on_package=card.kind == "igpu"
        )
        source = f"hwmon {card.driver}"
        news: dict[str, Reading | Flag] = {"throttling": self._throttling(now)}
        if paths.temperature and (degrees := number(paths.temperature)) is not None:
            news["temperature"] = Reading(degrees / 1000, CELSIUS, source, now)
        if paths.clock and (clock := number(paths.clock)) is not None:
            news["frequency"] = Reading(float(clock), MHZ, paths.clock.rpartition("/")[2], now)
        speeds = [speed for path in paths.fans if (speed := number(path)) is not None]
        if speeds:
            news["fan_speed"] = Reading(float(max(speeds)), RPM, source, now)
        if paths.energy:
            joules, watts = self._energy.sample(number(paths.energy), 0, now)
            if joules is not None:
                news["energy"] = Reading(joules, JOULE, source, now)
            if watts is not None:
                news["power"] = Reading(watts, WATT, f"{source}: energy", now)
        if paths.idle:
            idle_ms = number(paths.idle)
            idle = self._idle.per_s(None if idle_ms is None else idle_ms / 1000, now)
            if idle is not None:
                by = paths.idle.rpartition("/")[2]
                news["utilisation"] = Reading(percent(1.0 - idle), PERCENT, f"time awake ({by})", now)
        return structs.replace(device, **news)

    def _throttling(self, now: float) -> Flag:
        status = self._files.number(self._paths.status) if self._paths.status else None
        if status is None:
            return Flag()
        reasons: list[str] = []
        if status:
            folder, _, prefix = self._paths.throttle.rpartition("/")
            names = self._files.entries(folder, rf"{prefix}(?!status)\w+")
            reasons += [name.removeprefix(prefix) for name in names if self._files.number(f"{folder}/{name}")]
        return Flag(not _HEAT.isdisjoint(reasons), "throttle reasons of the driver", now, tuple(reasons))
