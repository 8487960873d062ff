"""What is known of the machine at one moment. Unknown is None; no value here is a constant that looks measured."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, TypeVar

from msgspec import Struct, structs

Kind = Literal["cpu", "npu", "igpu", "dgpu"]


class Reading(Struct, frozen=True):
    """A number with its origin. `at` is time.monotonic() when it was read, None with a value that is unknown."""

    value: float | None = None
    unit: str = ""
    source: str = ""
    at: float | None = None

    def age_s(self, now: float) -> float | None:
        return None if self.at is None else max(0.0, now - self.at)


class Flag(Struct, frozen=True):
    """Yes, no or unknown. `reasons`: why a device's clock is held down, also where that is no heat."""

    value: bool | None = None
    source: str = ""
    at: float | None = None
    reasons: tuple[str, ...] = ()

    def age_s(self, now: float) -> float | None:
        return None if self.at is None else max(0.0, now - self.at)


CELSIUS, WATT, PERCENT, MHZ, BYTES, RPM, JOULE = "°C", "W", "%", "MHz", "bytes", "rpm", "J"


class DeviceReadings(Struct, frozen=True, kw_only=True):
    """One device. Ids are OpenVINO's (CPU, NPU, NPU.1, GPU.0); what OpenVINO does not drive is NVIDIA, NVIDIA.1."""

    id: str
    kind: Kind
    name: str = ""
    address: str = ""
    """On the PCI bus, 0000:03:00.0."""
    on_package: bool = False
    """It shares the processor's package, and with it the package's temperature."""
    asleep: bool = False
    """Suspended by the system: its sensors are left alone, since reading them would wake it."""
    temperature: Reading = Reading(unit=CELSIUS)
    temperature_critical: Reading = Reading(unit=CELSIUS)
    power: Reading = Reading(unit=WATT)
    energy: Reading = Reading(unit=JOULE)
    """Since the sampler's start; it never falls."""
    utilisation: Reading = Reading(unit=PERCENT)
    frequency: Reading = Reading(unit=MHZ)
    memory_used: Reading = Reading(unit=BYTES)
    fan: Reading = Reading(unit=PERCENT)
    fan_speed: Reading = Reading(unit=RPM)
    throttling: Flag = Flag()
    """Heat or the hardware's own protection holds the clock down."""


class Fan(Struct, frozen=True):
    """A fan of the machine, not of a graphics card."""

    name: str
    percent: Reading
    speed: Reading


class Note(Struct, frozen=True, order=True):
    """What cannot be read, and the one line that mends it, if there is one."""

    what: str
    remedy: str = ""


class Part(Struct, frozen=True, kw_only=True):
    """What one source knows; `compose` makes one picture of all."""

    devices: tuple[DeviceReadings, ...] = ()
    battery: Reading = Reading(unit=PERCENT)
    on_battery: Flag = Flag()
    fans: tuple[Fan, ...] = ()
    graphics_power: Reading = Reading(unit=WATT)
    """Of the package's own graphics, whichever device that is."""
    graphics_energy: Reading = Reading(unit=JOULE)
    notes: tuple[Note, ...] = ()


class Readings(Struct, frozen=True, kw_only=True, dict=True):
    """All of it. From any thread; the sampler replaces it whole."""

    at: float = 0.0
    """time.monotonic() of the last sample; 0.0: there was none yet."""
    devices: tuple[DeviceReadings, ...] = ()
    battery: Reading = Reading(unit=PERCENT)
    on_battery: Flag = Flag()
    mean_temperature: Reading = Reading(unit=CELSIUS)
    """Over the sensors there are: devices on one package count once."""
    mean_fan: Reading = Reading(unit=PERCENT)
    fans: tuple[Fan, ...] = ()
    notes: tuple[Note, ...] = ()

    def of(self, device: str) -> DeviceReadings | None:
        """By OpenVINO's name; `GPU` and `GPU.0` mean the same where there is one alone."""
        return self._by_name.get(device.removesuffix(".0"))

    @cached_property
    def _by_name(self) -> dict[str, DeviceReadings]:
        """Every request asks several times; the first of a name counts."""
        return {found.id.removesuffix(".0"): found for found in reversed(self.devices)}

    def of_kind(self, kind: Kind) -> tuple[DeviceReadings, ...]:
        return tuple(device for device in self.devices if device.kind == kind)


T = TypeVar("T", bound=Struct)


def filled(known: T, further: T) -> T:
    """`known`, with what it does not know taken from `further`."""
    news = {}
    for name in known.__struct_fields__:
        mine, other = getattr(known, name), getattr(further, name)
        if isinstance(mine, Reading | Flag) and mine.at is None and other.at is not None:
            news[name] = other
    return structs.replace(known, **news)
