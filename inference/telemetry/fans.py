"""The machine's own fans, from hwmon (Documentation/hwmon/sysfs-interface.rst): fan*_input and fan*_max in rpm,
pwm* from 0 to 255. A graphics card's fans belong to the card and are read with it.
"""

from __future__ import annotations

from msgspec import Struct

from inference.telemetry.counters import Kept
from inference.telemetry.processor import HWMON
from inference.telemetry.readings import PERCENT, RPM, DeviceReadings, Fan, Note, Part, Reading
from inference.telemetry.sysfs import Files

_GRAPHICS = ("i915", "xe", "amdgpu", "radeon", "nouveau", "nvidia")
_COMMANDED = ("thinkpad",)
"""Drivers whose pwm says what was last commanded, not what the fan does, unless pwm*_enable is 1 (fan_pwm1_show in
drivers/platform/x86/thinkpad_acpi.c): in the firmware's automatic mode it stays at full."""


class FanFiles(Struct, frozen=True):
    name: str
    driver: str
    speed: str
    top: str
    pwm: str
    enable: str


def fan_percent(speed: int | None, top: int | None, pwm: int | None) -> tuple[float | None, str]:
    """Of its maximum, and by which file: rpm of the greatest rpm, else the duty cycle, else unknown."""
    if speed == 0:
        return 0.0, "stands still"
    if speed is not None and top is not None and top > 0:
        return min(100.0, 100.0 * speed / top), "rpm of fan_max"
    if pwm is not None and 0 <= pwm <= 255:
        return 100.0 * pwm / 255, "pwm"
    return None, ""


class Fans:
    key = "fans"

    def __init__(self, files: Files, kept: Kept) -> None:
        self._files = files
        self._turned: set[str] = kept.of("fans turned", set)
        self._fans = tuple(fan for name in files.entries(HWMON, r"hwmon\d+") for fan in _of(files, name))

    def read(self, now: float) -> Part:
        fans = [self._fan(fan, now) for fan in self._fans]
        self._turned.update(fan.name for fan in fans if fan.speed.value)
        # A header without a fan says 0 for ever; where every fan stands still, they all do.
        shown = tuple(fan for fan in fans if fan.name in self._turned) or tuple(fans)
        notes = self._files.take_faults()
        if shown and all(fan.percent.value is None for fan in shown):
            notes += (Note("fans: their driver tells the speed and no maximum, so percent is unknown"),)
        fastest = max(shown, key=lambda fan: fan.percent.value or 0.0, default=None)
        if fastest is None:
            return Part(notes=notes)
        cpu = DeviceReadings(id="CPU", kind="cpu", fan=fastest.percent, fan_speed=fastest.speed)
        return Part(devices=(cpu,), fans=shown, notes=notes)

    def _fan(self, fan: FanFiles, now: float) -> Fan:
        speed = self._files.number(fan.speed)
        top = self._files.number(fan.top, note=False)
        pwm = self._files.number(fan.pwm, note=False)
        if fan.driver in _COMMANDED and self._files.number(fan.enable, note=False) != 1:
            pwm = None
        value, by = fan_percent(speed, top, pwm)
        source = f"hwmon {fan.name}"
        return Fan(
            fan.name,
            Reading(unit=PERCENT) if value is None else Reading(value, PERCENT, f"{source}: {by}", now),
            Reading(unit=RPM) if speed is None else Reading(float(speed), RPM, source, now),
        )


def _of(files: Files, name: str) -> list[FanFiles]:
    folder = f"{HWMON}/{name}"
    driver = files.text(f"{folder}/name", note=False) or ""
    if driver in _GRAPHICS:
        return []
    fans = []
    for file in files.entries(folder, r"fan\d+_input"):
        fan = file.removesuffix("_input")
        label = files.text(f"{folder}/{fan}_label", note=False) or fan
        pwm = fan.replace("fan", "pwm")
        fans.append(
            FanFiles(
                f"{driver} {label}", driver, f"{folder}/{file}", f"{folder}/{fan}_max",
                f"{folder}/{pwm}", f"{folder}/{pwm}_enable",
            )
        )  # fmt: skip
    return fans
