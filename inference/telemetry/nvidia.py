"""NVIDIA GPUs by NVML (nvidia-ml-py): degrees, milliwatts, millijoules since the driver came, percent, MHz, bytes.

The library is opened where a driver shows itself, and not at all elsewhere. A card that sleeps is not asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from msgspec import Struct

from inference.telemetry.counters import EnergyCounter, Kept
from inference.telemetry.readings import (
    BYTES,
    CELSIUS,
    JOULE,
    MHZ,
    PERCENT,
    WATT,
    DeviceReadings,
    Flag,
    Note,
    Part,
    Reading,
)
from inference.telemetry.runtime_power import RuntimePower, sleeping
from inference.telemetry.sysfs import Files

PCI = "/sys/bus/pci/drivers/nvidia"
_SIGNS = ("/sys/module/nvidia", "/dev/nvidiactl", "/dev/dxg")
"""A loaded driver, a container's device, and WSL's."""
RETRY_S = 60.0

HEAT = {0x8: "hw_slowdown", 0x20: "sw_thermal", 0x40: "hw_thermal", 0x80: "power_brake"}
LIMITS = {0x4: "power_cap", 0x10: "sync_boost", 0x200: "board_limit", 0x400: "reliability"}
"""nvmlClocksEventReason*: what protects the card, and what bounds it under load. Idleness and clocks that somebody set
are no news."""


class Measured(Struct, frozen=True, kw_only=True):
    """What NVML answered, in its own units; None where it did not."""

    name: str | None = None
    temperature_c: int | None = None
    slowdown_c: int | None = None
    power_mw: int | None = None
    energy_mj: int | None = None
    utilisation: int | None = None
    clock_mhz: int | None = None
    memory_bytes: int | None = None
    fan_percent: int | None = None
    reasons: int | None = None


def device_of(device: str, address: str, got: Measured, joules: float | None, now: float) -> DeviceReadings:
    def reading(value: float | None, unit: str) -> Reading:
        return Reading(unit=unit) if value is None else Reading(float(value), unit, "NVML", now)

    return DeviceReadings(
        id=device, kind="dgpu", name=got.name or "NVIDIA GPU", address=address,
        temperature=reading(got.temperature_c, CELSIUS),
        temperature_critical=reading(got.slowdown_c, CELSIUS),
        power=reading(None if got.power_mw is None else got.power_mw / 1000, WATT),
        energy=reading(joules, JOULE),
        utilisation=reading(got.utilisation, PERCENT),
        frequency=reading(got.clock_mhz, MHZ),
        memory_used=reading(got.memory_bytes, BYTES),
        fan=reading(got.fan_percent, PERCENT),
        throttling=_throttling(got.reasons, now),
    )  # fmt: skip


def _throttling(reasons: int | None, now: float) -> Flag:
    if reasons is None:
        return Flag()
    names = tuple(name for bit, name in (HEAT | LIMITS).items() if reasons & bit)
    return Flag(any(reasons & bit for bit in HEAT), "NVML clock event reasons", now, names)


def driver_shows(files: Files) -> bool:
    return sys.platform == "win32" or any(files.exists(sign) for sign in _SIGNS)


class Nvidia:
    """All cards of this driver; NVML is opened at the first read and kept open while a card has work."""

    key = "NVIDIA"

    def __init__(self, files: Files) -> None:
        self._files = files
        self._kept = Kept()
        self._nvml: ModuleType | None = None
        self._fault: Note | None = None
        self._next_try = 0.0
        self._last: dict[str, DeviceReadings] = {}

    def read(self, now: float) -> Part:
        addresses = self._files.entries(PCI, r"[0-9a-f]{4,}:[0-9a-f:.]+")
        powers = {address: self._power(address) for address in addresses}
        awake = [address for address in addresses if not powers[address].asleep()]
        if addresses and not awake:
            self._close()
        elif not self._opened(now):
            return Part(notes=(self._fault,) if self._fault else ())
        devices = []
        for index, address in enumerate(addresses or self._by_index()):
            device = f"NVIDIA.{index}" if index else "NVIDIA"
            power = powers.get(address)
            if power is not None and power.asleep():
                found = sleeping(device, "dgpu", "NVIDIA GPU", address, now)
            elif power is not None and not power.may_ask(now) and device in self._last:
                found = self._last[device]
            else:
                found = self._ask(device, address, bool(addresses), now)
                if power is not None:
                    power.asked(found.utilisation.value, now)
            self._last[device] = found
            devices.append(found)
        if powers and not any(power.may_ask(now) for power in powers.values()):
            self._close()  # an open library may keep a card of a laptop from sleeping
        return Part(devices=tuple(devices))

    def _power(self, address: str) -> RuntimePower:
        return self._kept.of(address, lambda: RuntimePower(self._files, f"{PCI}/{address}"))

    def _opened(self, now: float) -> bool:
        if self._nvml is not None:
            return True
        if now < self._next_try:
            return False
        import pynvml  # 30 ms and 3 MB, for machines that have such a card

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            loaded = self._files.exists(_SIGNS[0])
            self._fault, self._next_try = _fault(pynvml, error, loaded), now + RETRY_S
            return False
        self._nvml, self._fault = pynvml, None
        return True

    def _close(self) -> None:
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            _none_on_error(nvml, nvml.nvmlShutdown)

    def _by_index(self) -> list[str]:
        """Where sysfs names no cards (WSL, Windows): NVML's own numbers."""
        nvml = self._nvml
        if nvml is None:
            return []
        return [str(index) for index in range(_none_on_error(nvml, nvml.nvmlDeviceGetCount) or 0)]

    def _ask(self, device: str, address: str, on_bus: bool, now: float) -> DeviceReadings:
        nvml = self._nvml
        measured = Measured()
        if nvml is not None:
            find = nvml.nvmlDeviceGetHandleByPciBusId if on_bus else nvml.nvmlDeviceGetHandleByIndex
            handle = _none_on_error(nvml, find, address.encode() if on_bus else int(address))
            if handle is None:
                self._close()  # the card fell off the bus, or the driver was exchanged: open it anew
            else:
                measured = measure(nvml, handle)
        counter = self._kept.of(f"energy {address}", EnergyCounter)
        joules = counter.add(None if measured.energy_mj is None else measured.energy_mj * 1000, 0, now)
        return device_of(device, address if on_bus else "", measured, joules, now)


def measure(nvml: ModuleType, handle: Any) -> Measured:
    def ask(function: str, *arguments: Any) -> Any:
        return _none_on_error(nvml, getattr(nvml, function), handle, *arguments)

    name = ask("nvmlDeviceGetName")
    rates, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
    reasons = ask("nvmlDeviceGetCurrentClocksEventReasons")
    if reasons is None:  # drivers before 535 have the same under its old name
        reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
    return Measured(
        name=name.decode() if isinstance(name, bytes) else name,
        temperature_c=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        slowdown_c=ask("nvmlDeviceGetTemperatureThreshold", nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
        power_mw=ask("nvmlDeviceGetPowerUsage"),
        energy_mj=ask("nvmlDeviceGetTotalEnergyConsumption"),
        utilisation=None if rates is None else rates.gpu,
        clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        memory_bytes=None if memory is None else memory.used,
        fan_percent=ask("nvmlDeviceGetFanSpeed"),
        reasons=reasons,
    )


def _none_on_error(nvml: ModuleType, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


def _fault(nvml: ModuleType, error: Exception, loaded: bool) -> Note | None:
    """None where there is simply no such driver: `loaded` is whether the kernel has its module."""
    if isinstance(error, nvml.NVMLError_LibRmVersionMismatch):
        return Note("NVIDIA GPUs: library and kernel module are of two versions", "restart the machine")
    if isinstance(error, nvml.NVMLError_LibraryNotFound):
        return (
            None
            if not loaded
            else Note(
                "NVIDIA GPUs: the driver is loaded and libnvidia-ml is missing",
                "install the driver's library (Debian: libnvidia-ml1)",
            )
        )
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return None
    return Note(f"NVIDIA GPUs: {error}")
