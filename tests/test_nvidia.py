"""NVIDIA's cards through nvidia-ml-py, against a library that is built for the test."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import fake_nvml
import pytest
from fake_nvml import ADDRESS, CARD, RESTING
from machines import Machine

from inference.telemetry import nvidia
from inference.telemetry.nvidia import RETRY_S, Nvidia
from inference.telemetry.readings import DeviceReadings
from inference.telemetry.sysfs import Files

pytestmark = pytest.mark.skipif(
    fake_nvml.COMPILER is None or sys.platform == "win32",
    reason="no C compiler: how NVML's answers become readings is not seen",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loaded under the name by which nvidia-ml-py asks for it: the loader then gives this one."""
    folder = tmp_path_factory.mktemp("nvml")
    ctypes.CDLL(str(fake_nvml.build(folder)))
    return folder


@pytest.fixture
def machine(tmp_path: Path, library: Path) -> Machine:
    fake_nvml.say(library, **RESTING)
    machine = Machine(tmp_path)
    fake_nvml.install(machine)
    return machine


def say(library: Path, **changes: int | None) -> None:
    facts: dict[str, int | None] = {**RESTING, **changes}
    fake_nvml.say(library, **facts)


def known(device: DeviceReadings) -> dict[str, Any]:
    names = (
        "temperature",
        "temperature_critical",
        "power",
        "utilisation",
        "frequency",
        "memory_used",
        "fan",
        "energy",
    )
    return {name: getattr(device, name).value for name in names}


def test_a_card_says_all_of_it(machine: Machine, library: Path) -> None:
    source = Nvidia(Files(machine.root))
    (card,) = source.read(1.0).devices
    assert (card.id, card.kind, card.name, card.address) == ("NVIDIA", "dgpu", "NVIDIA Test 4090", ADDRESS)
    assert known(card) == {
        "temperature": 41.0,
        "temperature_critical": 90.0,
        "power": 21.5,
        "utilisation": 0.0,
        "frequency": 210.0,
        "memory_used": 1e9,
        "fan": 30.0,
        "energy": 0.0,
    }
    assert card.throttling.value is False
    say(library, energy_mj=5_250_000, load=97, reasons=0x44, temperature=91)
    (card,) = source.read(2.0).devices
    assert (card.energy.value, card.utilisation.value, card.temperature.value) == (250.0, 97.0, 91.0)
    assert (card.throttling.value, card.throttling.reasons) == (True, ("hw_thermal", "power_cap"))


@pytest.mark.parametrize("missing", sorted(set(RESTING) - {"count", "slowdown"}))
def test_an_error_of_one_reading_leaves_the_others(machine: Machine, library: Path, missing: str) -> None:
    say(library, **{missing: None})
    (card,) = Nvidia(Files(machine.root)).read(1.0).devices
    names = {
        "power_mw": "power", "energy_mj": "energy", "clock": "frequency", "load": "utilisation",
        "memory": "memory_used",
    }  # fmt: skip
    unknown = {name for name, value in known(card).items() if value is None}
    assert unknown == ({names.get(missing, missing)} if missing != "reasons" else set())
    assert (card.throttling.value is None) == (missing == "reasons")


def test_a_card_that_sleeps_is_not_asked(machine: Machine, library: Path) -> None:
    machine.set(f"{CARD}/power/runtime_status", "suspended")
    source = Nvidia(Files(machine.root))
    (card,) = source.read(1.0).devices
    assert (card.asleep, card.utilisation.value, card.temperature.value) == (True, 0.0, None)
    assert source._nvml is None
    machine.set(f"{CARD}/power/runtime_status", "active")
    (card,) = source.read(2.0).devices
    assert (card.asleep, card.temperature.value) == (False, 41.0)


def test_an_idle_card_of_a_laptop_gets_the_time_to_fall_asleep(machine: Machine, library: Path) -> None:
    machine.set(f"{CARD}/power/control", "auto")
    machine.set(f"{CARD}/power/autosuspend_delay_ms", 5000)
    source = Nvidia(Files(machine.root))
    assert source.read(1.0).devices[0].temperature.value == 41.0
    assert source._nvml is None  # an open library could keep it awake
    say(library, temperature=60, load=80)
    assert source.read(6.0).devices[0].temperature.value == 41.0
    assert source.read(9.0).devices[0].temperature.value == 60.0
    assert source._nvml is not None
    say(library, temperature=70, load=80)
    assert source.read(9.1).devices[0].temperature.value == 70.0


def test_a_card_that_fell_off_the_bus_is_looked_for_again(machine: Machine, library: Path) -> None:
    source = Nvidia(Files(machine.root))
    assert source.read(1.0).devices[0].power.value == 21.5
    say(library, lost=1)
    assert source.read(2.0).devices[0].power.value is None
    say(library)
    assert source.read(3.0).devices[0].power.value == 21.5


def test_where_sysfs_names_no_card_nvml_counts_them(tmp_path: Path, machine: Machine, library: Path) -> None:
    wsl = Machine(tmp_path / "wsl")
    wsl.set("/dev/dxg", "")
    say(library, count=2)
    devices = Nvidia(Files(wsl.root)).read(1.0).devices
    assert [device.id for device in devices] == ["NVIDIA", "NVIDIA.1"]
    assert devices[1].power.value == 21.5


def test_a_library_of_another_version_is_named_with_its_remedy(machine: Machine, library: Path) -> None:
    say(library, init=18)
    source = Nvidia(Files(machine.root))
    part = source.read(1.0)
    assert (part.devices, part.notes[0].remedy) == ((), "restart the machine")
    say(library)
    assert source.read(2.0).devices == ()  # not at every sample
    (card,) = source.read(1.0 + RETRY_S).devices
    assert card.power.value == 21.5


def test_without_a_driver_there_is_nothing(tmp_path: Path) -> None:
    assert not nvidia.driver_shows(Files(tmp_path))
