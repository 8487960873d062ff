"""Readings as rules: counters that begin anew, percent, weights, what is missing, and one picture of all."""

from __future__ import annotations

import pytest

from inference.telemetry.compose import STALE_S, compose
from inference.telemetry.counters import EnergyCounter, Rate, percent
from inference.telemetry.fans import fan_percent
from inference.telemetry.nvidia import Measured, device_of
from inference.telemetry.readings import CELSIUS, WATT, DeviceReadings, Fan, Flag, Part, Reading, Readings
from inference.telemetry.supplies import Battery, charge, discharging


@pytest.mark.parametrize(
    ("counts", "range_uj", "joules", "watts"),
    [
        ([1_000_000, 3_000_000], 0, 2.0, 2.0),
        ([9_000_000, 1_000_000], 10_000_000, 2.0, 2.0),  # once around
        ([9_000_000, 9_000_000], 10_000_000, 0.0, 0.0),
        ([9_000_000, 1_000_000], 262_143_328_850, 0.0, None),  # 262 kJ within a second: it was reset
        ([9_000_000, 1_000_000], 0, 0.0, None),  # a card that lost its counter while it slept
        ([1_000_000], 10_000_000, 0.0, None),
        ([1_000_000, None], 10_000_000, None, None),
        ([9_000_000, 1_000_000, 2_500_000], 10_000_000, 3.5, 1.5),
    ],
)
def test_energy_goes_on_where_its_counter_begins_anew(
    counts: list[int | None], range_uj: int, joules: float | None, watts: float | None
) -> None:
    counter = EnergyCounter()
    sampled = [counter.sample(count, range_uj, float(second)) for second, count in enumerate(counts)]
    assert sampled[-1] == (joules, watts)


def test_energy_that_is_asked_for_between_two_samples_is_counted_once() -> None:
    counter = EnergyCounter()
    counter.sample(0, 0, 0.0)
    assert counter.add(3_000_000, 0, 1.0) == 3.0
    assert counter.sample(10_000_000, 0, 2.0) == (10.0, 5.0)


@pytest.mark.parametrize(
    ("counts", "rate"),
    [([5, 8], 3.0), ([5], None), ([5, 4], None), ([5, None], None), ([None, 5], None), ([5, 4, 6], 2.0)],
)
def test_a_rate_needs_two_counts_that_grow(counts: list[float | None], rate: float | None) -> None:
    one = Rate()
    assert [one.per_s(count, float(second)) for second, count in enumerate(counts)][-1] == rate


@pytest.mark.parametrize(
    ("share", "shown"), [(None, None), (0.5, 50.0), (1.02, 100.0), (-0.01, 0.0), (0.0, 0.0)]
)
def test_a_share_is_a_percentage_within_its_bounds(share: float | None, shown: float | None) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("speed", "top", "pwm", "shown"),
    [
        (2500, 5000, 255, 50.0),  # the speed goes before the command
        (5500, 5000, None, 100.0),
        (1200, None, 51, 20.0),
        (1200, 0, 51, 20.0),
        (1200, None, None, None),
        (0, None, 255, 0.0),
        (None, None, 255, 100.0),
        (None, 5000, 300, None),
        (None, None, None, None),
    ],
)
def test_a_fan_has_a_percentage_where_its_maximum_is_known(
    speed: int | None, top: int | None, pwm: int | None, shown: float | None
) -> None:
    assert fan_percent(speed, top, pwm)[0] == shown


def battery(percent: float = 50.0, full: float | None = 10.0, status: str = "Charging") -> Battery:
    return Battery("BAT", percent, full, status)


@pytest.mark.parametrize(
    ("batteries", "shown"),
    [
        ([], None),
        ([battery(40)], 40.0),
        ([battery(100, 57.0), battery(50, 19.0)], 87.5),
        ([battery(100, 57.0), battery(50, None)], 75.0),  # one does not say what it holds
        ([battery(0, 10.0)], 0.0),
    ],
)
def test_batteries_count_by_what_they_hold(batteries: list[Battery], shown: float | None) -> None:
    assert charge(batteries, 1.0).value == shown


MAINS, USB = ("AC", "Mains", True), ("ucsi", "USB", True)
NO_MAINS, NO_USB = ("AC", "Mains", False), ("ucsi", "USB", False)


@pytest.mark.parametrize(
    ("batteries", "chargers", "shown"),
    [
        ([battery()], [MAINS], False),
        ([battery()], [NO_MAINS], True),
        ([battery(status="Discharging")], [MAINS], False),  # a weak charger: plugged in all the same
        ([battery()], [NO_MAINS, USB], True),  # the mains' entry knows
        ([battery()], [USB, NO_USB], False),
        ([battery()], [NO_USB], True),
        ([battery(status="Discharging")], [], True),
        ([battery(status="Full"), battery(status="Discharging")], [], True),
        ([battery(status="Not charging")], [], False),
        ([battery(status="Unknown")], [], None),
        ([], [MAINS], False),
        ([], [NO_MAINS], None),
        ([], [], None),
    ],
)
def test_the_charger_decides_and_without_one_the_battery(
    batteries: list[Battery], chargers: list[tuple[str, str, bool]], shown: bool | None
) -> None:
    assert discharging(batteries, chargers, 1.0).value is shown


@pytest.mark.parametrize(
    ("reasons", "value", "names"),
    [
        (0x0, False, ()),
        (0x1, False, ()),  # idle
        (0x4, False, ("power_cap",)),
        (0x20, True, ("sw_thermal",)),
        (0x40 | 0x8 | 0x4, True, ("hw_slowdown", "hw_thermal", "power_cap")),
        (None, None, ()),
    ],
)
def test_nvidia_is_throttled_by_heat_and_not_by_its_power_limit(
    reasons: int | None, value: bool | None, names: tuple[str, ...]
) -> None:
    found = device_of("NVIDIA", "", Measured(reasons=reasons, power_mw=71_234), None, 1.0)
    assert (found.throttling.value, found.throttling.reasons) == (value, names)
    assert found.power.value == pytest.approx(71.234)
    assert found.temperature == Reading(unit=CELSIUS)


def cpu(celsius: float, watts: float | None = None) -> DeviceReadings:
    temperature = Reading(celsius, CELSIUS, "s", 100.0)
    power = Reading(unit=WATT) if watts is None else Reading(watts, WATT, "RAPL", 100.0)
    return DeviceReadings(id="CPU", kind="cpu", temperature=temperature, power=power)


def test_what_is_too_old_is_unknown_and_so_is_what_was_made_of_it() -> None:
    npu = DeviceReadings(id="NPU", kind="npu", on_package=True)
    charge, turns = Reading(80.0, "%", "s", 100.0), Reading(40.0, "%", "s", 100.0)
    part = Part(
        devices=(cpu(60.0), npu), battery=charge, on_battery=Flag(True, "s", 100.0),
        fans=(Fan("one", turns, Reading(unit="rpm")),),
    )  # fmt: skip
    found = compose([part], (), 100.0 + STALE_S)
    assert [device.temperature.value for device in found.devices] == [60.0, 60.0]
    assert found.battery.value == 80.0
    found = compose([part], (), 100.1 + STALE_S)
    assert [device.temperature.value for device in found.devices] == [None, None]
    assert found.mean_temperature.value is None
    assert (found.battery, found.on_battery.value) == (Reading(unit="%"), None)
    assert (found.fans[0].percent.value, found.mean_fan.value) == (None, None)


def test_sources_fill_each_others_gaps_and_the_first_that_knows_is_right() -> None:
    parts = [
        Part(devices=(cpu(60.0),)),
        Part(devices=(cpu(70.0, 12.0),), on_battery=Flag(True, "s", 100.0)),
    ]
    (device,) = compose(parts, (), 100.0).devices
    assert (device.temperature.value, device.power.value) == (60.0, 12.0)
    assert compose(parts, (), 100.0).on_battery.value is True


@pytest.mark.parametrize(
    ("ids", "asked", "found"),
    [
        (("GPU",), "GPU.0", "GPU"),
        (("GPU.0", "GPU.1"), "GPU", "GPU.0"),
        (("GPU.0", "GPU.1"), "GPU.1", "GPU.1"),
        (("NPU", "NPU.1"), "NPU.1", "NPU.1"),
        (("CPU",), "NPU", None),
    ],
)
def test_a_device_is_found_by_both_of_its_names(ids: tuple[str, ...], asked: str, found: str | None) -> None:
    readings = Readings(devices=tuple(DeviceReadings(id=name, kind="igpu") for name in ids))
    device = readings.of(asked)
    assert (device.id if device else None) == found
