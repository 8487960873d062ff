"""What each source reads out of the kernel's files, and that psutil reads the same out of them."""

from __future__ import annotations

import glob
from pathlib import Path

import psutil
import pytest
from machines import Machine, desktop, laptop
from psutil import _pslinux

from inference.telemetry import supplies
from inference.telemetry.counters import Kept
from inference.telemetry.fans import Fans
from inference.telemetry.intel_gpu import IntelGpu, cards
from inference.telemetry.npu import Npus
from inference.telemetry.processor import Processor, package_sensors
from inference.telemetry.supplies import PowerSupplies, SystemBattery
from inference.telemetry.sysfs import Files


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"capacity": 41}, 41.0),
        ({"charge_full": 4_000_000, "charge_now": 1_000_000, "capacity": 99}, 25.0),
        ({"energy_full": 0, "energy_now": 0, "capacity": 12}, 12.0),
        ({"capacity": "garbage"}, None),
        ({"capacity": -1}, None),
        ({"energy_full": 50_000_000, "energy_now": 51_000_000}, 100.0),
        ({"present": 0, "capacity": 41}, None),
        ({}, None),
    ],
)
def test_a_battery_says_its_charge_in_one_of_three_ways(
    tmp_path: Path, facts: dict[str, str | int], shown: float | None
) -> None:
    machine = Machine(tmp_path)
    machine.add("power_supply", "BAT0", "BAT0", {"type": "Battery", **facts})
    assert PowerSupplies(Files(tmp_path)).read(1.0).battery.value == shown


def test_on_the_same_files_psutil_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path_factory.mktemp("laptop")  # without an underscore, at which psutil cuts its paths
    machine = laptop(root)
    machine.set("/sys/class/power_supply/BAT0/energy_now", 12_345_678)
    machine.vanish("power_supply", "BAT1")  # psutil knows one
    machine.vanish("power_supply", "hidpp_battery_0")
    machine.set("/sys/class/power_supply/AC/online", 0)
    monkeypatch.setattr(_pslinux, "POWER_SUPPLY_PATH", str(root / "sys/class/power_supply"))
    ours, theirs = PowerSupplies(Files(root)).read(1.0), SystemBattery().read(1.0)
    assert ours.battery.value == theirs.battery.value == pytest.approx(21.659, abs=0.001)
    assert ours.on_battery.value is theirs.on_battery.value is True
    assert theirs.notes == (supplies.ELSEWHERE,)
    find = glob.glob
    monkeypatch.setattr(glob, "glob", lambda pattern: find(f"{root}{pattern}"))
    (sensor,) = package_sensors(Files(root))
    (package, *_) = psutil.sensors_temperatures()["coretemp"]
    assert (Files(root).number(sensor.path), sensor.critical_c) == (
        package.current * 1000,
        package.critical,
    )
    (fan,) = Fans(Files(root), Kept()).read(1.0).fans
    assert fan.speed.value == psutil.sensors_fans()["dell_smm"][0].current


def test_on_this_machine_psutil_says_the_same() -> None:
    ours, theirs = PowerSupplies(Files(Path("/"))).read(1.0), psutil.sensors_battery()
    assert (ours.battery.value is None) == (theirs is None)
    if theirs is not None:
        assert ours.battery.value == pytest.approx(theirs.percent, abs=1)
    packages = [
        sensor.current
        for sensors in psutil.sensors_temperatures().values()
        for sensor in sensors
        if sensor.label.startswith("Package id")
    ]
    found = Processor(Files(Path("/")), Kept()).read(1.0).devices[0].temperature.value
    if packages:
        assert found == pytest.approx(max(packages), abs=15)


def test_a_thinkpad_in_automatic_mode_has_rpm_and_no_percent(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    folder = machine.hwmon(
        "hwmon5", "thinkpad", "platform/thinkpad_hwmon", {"fan1_input": 2700, "pwm1": 255, "pwm1_enable": 2}
    )
    fans = Fans(Files(tmp_path), Kept())
    part = fans.read(1.0)
    assert (part.fans[0].percent.value, part.fans[0].speed.value) == (None, 2700)
    assert "percent is unknown" in part.notes[0].what
    machine.set(f"{folder}/pwm1_enable", 1)
    machine.set(f"{folder}/pwm1", 102)
    assert fans.read(2.0).fans[0].percent.value == 40.0


@pytest.mark.parametrize(
    ("facts", "celsius", "source"),
    [
        ({"temp1_label": "Package id 0", "temp1_input": 51_000}, 51.0, "hwmon coretemp: Package id 0"),
        (
            {"temp1_label": "Package id 0", "temp1_input": 51_000, "temp9_label": "Package id 1",
             "temp9_input": 67_000},
            67.0,
            "hwmon coretemp: Package id 1",
        ),
        ({"temp2_label": "Core 0", "temp2_input": 44_000}, 44.0, "hwmon coretemp: Core 0"),
        ({"temp1_label": "Package id 0", "temp1_input": "hot"}, None, ""),
    ],
)  # fmt: skip
def test_the_cpu_is_as_hot_as_its_hottest_package(
    tmp_path: Path, facts: dict[str, str | int], celsius: float | None, source: str
) -> None:
    machine = Machine(tmp_path)
    machine.hwmon("hwmon1", "coretemp", "platform/coretemp.0", facts)
    temperature = Processor(Files(tmp_path), Kept()).read(1.0).devices[0].temperature
    assert (temperature.value, temperature.source) == (celsius, source)


def test_amd_tells_its_die_before_its_control_value_and_zones_come_last(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.add("thermal", "thermal_zone3", "virtual/zone3", {"type": "x86_pkg_temp", "temp": 40_000})
    assert [sensor.source for sensor in package_sensors(Files(tmp_path))] == ["thermal zone x86_pkg_temp"]
    machine.hwmon(
        "hwmon1", "zenpower", "zen",
        {"temp1_label": "Tctl", "temp1_input": 80_000, "temp2_label": "Tdie", "temp2_input": 60_000},
    )  # fmt: skip
    assert [sensor.source for sensor in package_sensors(Files(tmp_path))] == ["hwmon zenpower: Tdie"]


def test_several_npus_are_numbered_by_their_address(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for number, address, driver in (
        (0, "0000:04:00.0", "intel_vpu"),
        (1, "0000:00:0b.0", "intel_vpu"),
        (2, "0000:05:00.0", "habanalabs"),
    ):
        machine.add(
            "accel", f"accel{number}", f"pci/{address}/accel",
            {"device": {"uevent": f"DRIVER={driver}\nPCI_SLOT_NAME={address}", "npu_current_frequency_mhz": number}},
        )  # fmt: skip
    part = Npus(Files(tmp_path), Kept()).read(1.0)
    assert [(npu.id, npu.address, npu.on_package) for npu in part.devices] == [
        ("NPU", "0000:00:0b.0", True),
        ("NPU.1", "0000:04:00.0", False),
    ]
    assert part.notes[0].remedy == "Linux 6.11 or newer"


def test_an_idle_card_is_left_alone_until_it_could_have_fallen_asleep(tmp_path: Path) -> None:
    machine = desktop(tmp_path)
    files, device = Files(tmp_path), "/sys/class/drm/card0/device"
    card = next(card for card in cards(files) if card.kind == "dgpu")
    gpu = IntelGpu(files, Kept(), card)
    machine.set(f"{device}/power/control", "auto")

    def celsius(now: float) -> float | None:
        machine.set(f"{device}/tile0/gt0/gtidle/idle_residency_ms", int(now * 1000))  # it has nothing to do
        return gpu.read(now).devices[0].temperature.value

    assert celsius(0.0) == 48.0
    machine.set(f"{device}/hwmon/hwmon4/temp2_input", 50_000)
    assert celsius(2.0) == 48.0  # its autosuspend delay is a second; two more to spare
    assert celsius(5.0) == 50.0
    machine.set(f"{device}/hwmon/hwmon4/temp2_input", 55_000)
    machine.set(f"{device}/power/control", "on")
    assert celsius(9.0) == 55.0
    machine.set(f"{device}/hwmon/hwmon4/temp2_input", 56_000)
    assert celsius(9.1) == 56.0  # it may not sleep
