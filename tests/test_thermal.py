"""GET /thermal of the real server, on machines made of files that change while it runs."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_nvml
import pytest
from conftest import RunningServer, Serve, get, start_server
from machines import BROKEN, GT, NPU, Machine, desktop, laptop

AC, BAT0 = "/sys/class/power_supply/AC/online", "/sys/class/power_supply/BAT0"
CORETEMP, FAN = "/sys/class/hwmon/hwmon10/temp1_input", "/sys/class/hwmon/hwmon2/fan1_input"
PACKAGE, GRAPHICS = (
    "/sys/class/powercap/intel-rapl:0/energy_uj",
    "/sys/class/powercap/intel-rapl:0:1/energy_uj",
)

Thermal = dict[str, Any]


def thermal(server: RunningServer) -> Thermal:
    answer: Thermal = json.loads(get(f"{server.url}/thermal"))
    return answer


def until(
    server: RunningServer, holds: Callable[[Thermal], bool], meanwhile: Callable[[], None] = lambda: None
) -> Thermal:
    """What it says once it `holds`; `meanwhile` is called between two questions."""
    deadline = time.monotonic() + 30
    while True:
        meanwhile()
        found = thermal(server)
        try:
            if holds(found):
                return found
        except (KeyError, TypeError):
            pass  # not known yet
        if time.monotonic() > deadline:
            pytest.fail(f"not seen within 30 s: {json.dumps(found, indent=1)}")
        time.sleep(0.2)


def values(found: Thermal, device: str) -> dict[str, Any]:
    return {
        name: field["value"] for name, field in found["devices"][device].items() if isinstance(field, dict)
    }


def notes(found: Thermal) -> str:
    return " | ".join(f"{note['what']}: {note['remedy']}" for note in found["notes"])


@pytest.fixture(scope="module")
def one_laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Machine]]:
    folder = tmp_path_factory.mktemp("laptop")
    machine = laptop(folder / "machine")
    server = start_server(folder, NPU_PROXY_SYSFS_ROOT=str(machine.root))
    try:
        yield server.wait_until_ready(), machine
    finally:
        server.stop()


@pytest.fixture
def running_laptop(one_laptop: tuple[RunningServer, Machine]) -> Iterator[tuple[RunningServer, Machine]]:
    """A machine that the test may change; it is as before with the next test."""
    machine = one_laptop[1]
    machine.keep()
    yield one_laptop
    machine.restore()


Laptop = tuple[RunningServer, Machine]


def test_a_laptop_at_rest(running_laptop: Laptop) -> None:
    server, _ = running_laptop
    found = until(server, lambda found: values(found, "CPU")["power"] is not None)
    assert set(found["devices"]) == {"CPU", "NPU", "GPU"}
    system, cpu, npu = found["system"], found["devices"]["CPU"], found["devices"]["NPU"]
    assert (system["battery"]["value"], system["battery"]["source"]) == (87.5, "power_supply BAT0 and BAT1")
    assert system["on_battery"]["value"] is False
    assert (cpu["temperature"]["value"], cpu["temperature"]["unit"]) == (52.0, "°C")
    assert cpu["temperature"]["source"] == "hwmon coretemp: Package id 0"
    assert cpu["temperature_critical"]["value"] == 110.0
    assert npu["temperature"]["source"] == "the package's: hwmon coretemp: Package id 0"
    assert (npu["class"], npu["address"], npu["power"]["value"]) == ("npu", "0000:00:0b.0", None)
    assert found["devices"]["GPU"]["class"] == "igpu"
    assert values(found, "GPU")["frequency"] == 300
    assert system["mean_temperature"]["value"] == 52.0  # the package has one sensor, whatever shares it
    assert system["mean_fan"]["value"] == 24.0
    assert found["notes"] == []


def test_a_laptop_that_is_unplugged_and_gets_hot(running_laptop: Laptop) -> None:
    server, machine = running_laptop
    before = until(server, lambda found: values(found, "CPU")["throttling"] is False)
    machine.set(AC, 0)
    machine.set(f"{BAT0}/energy_now", 5_700_000)
    machine.set(CORETEMP, 97_000)
    machine.set(FAN, 4500)
    machine.set(PACKAGE, 8_000_000)  # 4 J to the end of the range, then 8 J
    machine.set(GRAPHICS, 5_000_000)
    found = until(
        server,
        lambda found: (
            values(found, "NPU")["temperature"] == 97.0
            and found["system"]["on_battery"]["value"] is True
            and found["system"]["battery"]["value"] == 20.0
            and found["system"]["mean_fan"]["value"] == 90.0
            and values(found, "CPU")["energy"] != values(before, "CPU")["energy"]
        ),
    )
    assert values(found, "CPU")["energy"] == pytest.approx(values(before, "CPU")["energy"] + 12.0)
    assert values(found, "GPU")["energy"] == pytest.approx(values(before, "GPU")["energy"] + 3.0)
    page = get(f"{server.url}/status").decode()
    for words in ("97 °C", "battery", "20 %", "90 %"):
        assert words in page, words
    machine.set(CORETEMP, 48_000)
    until(server, lambda found: values(found, "CPU")["temperature"] == 48.0)


def test_a_laptop_at_work(running_laptop: Laptop) -> None:
    server, machine = running_laptop
    turns = itertools.count(1)

    def work() -> None:
        turn = next(turns)
        machine.set("/proc/stat", f"cpu  {100 + 900 * turn} 0 50 {850 + 100 * turn} 0 0 0 0 0 0")
        machine.set("/sys/devices/system/cpu/cpu2/thermal_throttle/core_throttle_count", 3 + turn)
        machine.set(PACKAGE, 1_000_000 * turn)
        machine.set(f"{NPU}/npu_busy_time_us", 5_000_000 + 20_000 * turn)
        machine.set(f"{GT}/gtidle/idle_residency_ms", 1000 + 20 * turn)

    machine.set(f"{NPU}/npu_memory_utilization", 123_456_789)
    machine.set(f"{NPU}/npu_current_frequency_mhz", 1400)
    machine.set(f"{GT}/freq0/throttle/reason_thermal", 1)
    machine.set(f"{GT}/freq0/throttle/status", 1)
    found = until(
        server,
        lambda found: (
            values(found, "CPU")["utilisation"] == 90.0
            and values(found, "CPU")["throttling"] is True
            and values(found, "CPU")["power"] > 0
            and 0 < values(found, "NPU")["utilisation"] < 100
            and 0 < values(found, "GPU")["utilisation"] < 100
            and values(found, "GPU")["throttling"] is True
        ),
        meanwhile=work,
    )
    assert found["devices"]["CPU"]["throttling"]["reasons"] == ["core_thermal"]
    assert found["devices"]["GPU"]["throttling"]["reasons"] == ["thermal"]
    assert (values(found, "NPU")["frequency"], values(found, "NPU")["memory_used"]) == (1400, 123_456_789)
    machine.set(f"{GT}/freq0/throttle/reason_pl1", 1)
    machine.set(f"{GT}/freq0/throttle/reason_thermal", 0)
    found = until(server, lambda found: values(found, "GPU")["throttling"] is False)
    assert found["devices"]["GPU"]["throttling"]["reasons"] == ["pl1"]  # a power limit, which is no heat
    until(server, lambda found: values(found, "CPU")["throttling"] is False)


def test_a_laptop_that_falls_apart(running_laptop: Laptop) -> None:
    server, machine = running_laptop
    machine.vanish("power_supply", "BAT0")
    machine.vanish("power_supply", "BAT1")
    machine.set(AC, 0)
    machine.set(FAN, "nonsense")
    machine.replace(f"{NPU}/npu_memory_utilization", BROKEN)
    machine.hang(f"{GT}/freq0/act_freq")
    until(server, lambda found: "GPU 0000:00:02.0: no answer" in notes(found))
    found = until(
        server, lambda found: found["system"]["battery"]["value"] is None and len(found["notes"]) == 3
    )
    assert values(found, "GPU")["frequency"] == 300  # the last one, with its age
    assert found["system"]["battery"] == {"value": None, "unit": "%", "source": None, "age_s": None}
    assert found["system"]["on_battery"]["value"] is None  # the charger is offline, and there is no battery
    assert found["system"]["fans"][0]["speed"]["value"] is None
    assert "hwmon/hwmon2/fan1_input: 'nonsense' is not a number" in notes(found)
    assert (values(found, "NPU")["memory_used"], values(found, "NPU")["frequency"]) == (None, 0)
    assert "accel/accel0/device/npu_memory_utilization: Input/output error" in notes(found)
    machine.set(CORETEMP, 71_000)
    found = until(server, lambda found: values(found, "CPU")["temperature"] == 71.0)
    assert found["devices"]["GPU"]["frequency"]["age_s"] > found["devices"]["NPU"]["frequency"]["age_s"]
    assert get(f"{server.url}/healthz") == b"ok"
    machine.answer(f"{GT}/freq0/act_freq", 1950)
    found = until(server, lambda found: values(found, "GPU")["frequency"] == 1950)
    assert "no answer" not in notes(found)


def test_a_desktop_tells_what_it_may_not_read_and_lets_its_card_sleep(serve: Serve, tmp_path: Path) -> None:
    machine = desktop(tmp_path / "machine")
    variables = {}
    if fake_nvml.COMPILER is not None:
        fake_nvml.install(machine)
        variables["LD_LIBRARY_PATH"] = str(fake_nvml.build(tmp_path).parent)
    server = serve(NPU_PROXY_SYSFS_ROOT=str(machine.root), **variables)
    card = "/sys/class/drm/card0/device"
    found = until(server, lambda found: values(found, "GPU.1")["power"] is not None)
    assert found["devices"]["CPU"]["temperature"]["source"] == "hwmon k10temp: Tctl"
    assert values(found, "CPU")["power"] is None
    assert "RAPL may be read by root alone: sudo chmod a+r" in notes(found)
    assert (found["devices"]["GPU.0"]["class"], found["devices"]["GPU.1"]["class"]) == ("igpu", "dgpu")
    assert values(found, "GPU.0")["temperature"] == 65.0
    assert values(found, "GPU.1")["temperature"] == 48.0
    assert values(found, "GPU.1")["fan_speed"] == 900
    heats = [65, 48]
    if variables:
        nvidia = found["devices"]["NVIDIA"]
        assert (nvidia["name"], nvidia["power"]["value"], nvidia["power"]["source"]) == (
            "NVIDIA Test 4090",
            21.5,
            "NVML",
        )
        heats.append(41)
    assert found["system"]["mean_temperature"]["value"] == pytest.approx(sum(heats) / len(heats), abs=0.001)
    assert [fan["name"] for fan in found["system"]["fans"]] == [
        "nct6798 fan2"
    ]  # nothing hangs on the first header
    assert found["system"]["mean_fan"]["value"] == (
        25.0 if variables else 20.0
    )  # the card's own turns at 30 %
    assert found["system"]["battery"]["value"] is None

    machine.set(f"{card}/hwmon/hwmon4/energy1_input", 760_000_000)
    machine.set("/sys/class/powercap/intel-rapl:0/energy_uj", 5_000_000)  # as after chmod
    until(server, lambda found: values(found, "GPU.1")["energy"] == 60.0)
    found = until(server, lambda found: "RAPL" not in notes(found))
    assert values(found, "CPU")["energy"] == 0.0
    machine.set(f"{card}/power/control", "auto")
    machine.set(f"{card}/power/runtime_status", "suspended")
    machine.set(
        f"{card}/hwmon/hwmon4/temp2_input", 20_000
    )  # nobody must see it: reading it would wake the card
    found = until(server, lambda found: found["devices"]["GPU.1"]["asleep"])
    assert values(found, "GPU.1")["utilisation"] == 0
    assert values(found, "GPU.1")["temperature"] is None
    assert "GPU.1 sleeps" in notes(found)


def test_every_reading_of_this_machine_has_a_unit_a_source_and_an_age(server: RunningServer) -> None:
    found = until(server, lambda found: values(found, "CPU")["utilisation"] is not None)
    for device in found["devices"].values():
        for name, field in device.items():
            if isinstance(field, dict) and name != "throttling":
                assert field["unit"], name
                assert (field["source"] is None) == (field["age_s"] is None), name
                assert field["value"] is None or field["age_s"] >= 0, name
