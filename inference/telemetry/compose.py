"""What the sources know -> one picture. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import TypeVar

from msgspec import structs

from inference.telemetry.readings import (
    CELSIUS,
    PERCENT,
    DeviceReadings,
    Fan,
    Flag,
    Note,
    Part,
    Reading,
    Readings,
    filled,
)

STALE_S = 30.0
"""A reading that could not be renewed for so long is no longer known. Above the longest pause between two questions to
an idle card, with a sample's distance to spare."""
T = TypeVar("T", bound=Reading | Flag)
_ORDER = {"cpu": 0, "npu": 1, "igpu": 2, "dgpu": 3}


def compose(parts: Iterable[Part], notes: tuple[Note, ...], now: float) -> Readings:
    """`notes`: the sampler's own. Devices of one id are one device; those on the package share its temperature."""
    every = tuple(parts)
    devices: dict[str, DeviceReadings] = {}
    for part in every:
        for device in part.devices:
            known = devices.get(device.id)
            devices[device.id] = device if known is None else filled(known, device)
    fresh = tuple(_fresh(device, now) for device in devices.values())
    listed = tuple(sorted(fresh, key=lambda device: (_ORDER[device.kind], device.id)))
    own = [_with_graphics(device, every) for device in listed]
    package = next((device.temperature for device in own if device.kind == "cpu"), Reading())
    fans = tuple(_fresh_fan(fan, now) for part in every for fan in part.fans)
    turning = [fan.percent for fan in fans] + [device.fan for device in own if device.kind == "dgpu"]
    return Readings(
        at=now,
        devices=tuple(_with_package(device, package) for device in own),
        battery=_known(reduce(_first, (part.battery for part in every), Reading(unit=PERCENT)), now),
        on_battery=_known(reduce(_first, (part.on_battery for part in every), Flag()), now),
        mean_temperature=_mean((device.temperature for device in own), CELSIUS, "sensors"),
        mean_fan=_mean(turning, PERCENT, "fans"),
        fans=fans,
        notes=tuple(sorted({*notes, *(note for part in every for note in part.notes)})),
    )


def _known(value: T, now: float) -> T:
    """`value`, or nothing where it is too old to be true."""
    if value.at is None or now - value.at <= STALE_S:
        return value
    return structs.replace(value, value=None, source="", at=None)


def _fresh(device: DeviceReadings, now: float) -> DeviceReadings:
    news = {}
    for name in device.__struct_fields__:
        value = getattr(device, name)
        if isinstance(value, Reading | Flag) and (fresh := _known(value, now)) is not value:
            news[name] = fresh
    return structs.replace(device, **news) if news else device


def _fresh_fan(fan: Fan, now: float) -> Fan:
    return Fan(fan.name, _known(fan.percent, now), _known(fan.speed, now))


def _with_graphics(device: DeviceReadings, parts: Iterable[Part]) -> DeviceReadings:
    """The package counts the energy of its own graphics, which has no sensor itself."""
    if device.kind != "igpu":
        return device
    for part in parts:
        if part.graphics_energy.at is not None and device.energy.at is None:
            device = structs.replace(device, energy=part.graphics_energy, power=part.graphics_power)
    return device


def _with_package(device: DeviceReadings, package: Reading) -> DeviceReadings:
    if (
        device.kind == "cpu"
        or not device.on_package
        or device.temperature.at is not None
        or package.at is None
    ):
        return device
    shared = Reading(package.value, CELSIUS, f"the package's: {package.source}", package.at)
    return structs.replace(device, temperature=shared)


def _first(known: T, further: T) -> T:
    return known if known.at is not None else further


def _mean(readings: Iterable[Reading], unit: str, of: str) -> Reading:
    known = [(one.value, one.at) for one in readings if one.value is not None and one.at is not None]
    if not known:
        return Reading(unit=unit)
    return Reading(
        sum(value for value, _ in known) / len(known), unit, f"{len(known)} {of}", min(at for _, at in known)
    )
