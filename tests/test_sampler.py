"""The sampler's threads: what hangs, what comes, and energy at the moment it is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machines import BROKEN, FORBIDDEN, GT, NPU_FACTS, Machine, batteries, laptop

from inference.telemetry import sampler as sampling
from inference.telemetry.readings import DeviceReadings
from inference.telemetry.sampler import Sampler


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERY_S", "WATCHED_EVERY_S", "FIRST_S"):
        monkeypatch.setattr(sampling, name, 0.02)
    monkeypatch.setattr(sampling, "HANG_S", 0.3)


Start = Callable[[Path], Sampler]


@pytest.fixture
def start(quick: None) -> Iterator[Start]:
    started: list[Sampler] = []

    def begin(root: Path) -> Sampler:
        sampler = Sampler(root)
        sampler.start()
        started.append(sampler)
        return sampler

    yield begin
    for sampler in started:
        sampler.stop()


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "not seen within 30 s"
        time.sleep(0.01)


def device(sampler: Sampler, name: str) -> DeviceReadings:
    return sampler.readings().of(name) or DeviceReadings(id=name, kind="cpu")


def test_two_that_hang_cost_two_threads_and_come_back(tmp_path: Path, start: Start) -> None:
    machine = laptop(tmp_path)
    sampler = start(tmp_path)
    until(lambda: device(sampler, "GPU").frequency.value == 300)
    before = threading.active_count()
    machine.hang(f"{GT}/freq0/act_freq")
    machine.hang("/sys/class/hwmon/hwmon2/fan1_input")
    until(lambda: len(sampler.readings().notes) == 2)
    machine.set("/sys/class/hwmon/hwmon10/temp1_input", 90_000)
    until(lambda: device(sampler, "CPU").temperature.value == 90.0)
    assert threading.active_count() == before + 2
    machine.answer(f"{GT}/freq0/act_freq", 500)
    machine.answer("/sys/class/hwmon/hwmon2/fan1_input", 2000)
    until(lambda: device(sampler, "GPU").frequency.value == 500 and device(sampler, "CPU").fan.value == 40.0)
    until(lambda: threading.active_count() == before)


def test_devices_that_come_are_found_at_the_next_sample(tmp_path: Path, start: Start) -> None:
    machine = Machine(tmp_path)
    machine.proc()
    sampler = start(tmp_path)
    until(lambda: sampler.readings().devices)
    assert sampler.readings().battery.value is None
    batteries(machine)
    until(lambda: sampler.readings().battery.value == 87.5)
    machine.add("accel", "accel0", "pci/npu", {"device": NPU_FACTS})
    until(lambda: device(sampler, "NPU").address == "0000:00:0b.0")


def test_energy_is_read_at_the_moment_it_is_asked_for(tmp_path: Path, start: Start) -> None:
    machine = laptop(tmp_path)
    energy = "/sys/class/powercap/intel-rapl:0/energy_uj"
    machine.set(energy, 1_000_000)
    sampler = start(tmp_path)
    until(lambda: device(sampler, "CPU").energy.value is not None)
    sampler.stop()
    before = sampler.energy("NPU").value
    machine.set(energy, 1_250_000)
    assert before is not None
    assert sampler.energy("NPU").value == pytest.approx(before + 0.25)
    assert sampler.energy("GPU").source == "RAPL package"
    machine.replace(energy, FORBIDDEN)
    assert sampler.energy("CPU").value is None
    machine.replace(energy, BROKEN)
    assert sampler.energy("CPU").value is None
    assert sampler.energy("GPU.7").value is None
