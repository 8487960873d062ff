"""A machine that changes while the server runs: what Auto stands for, and where requests go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve
from machines import Machine, laptop
from server_rows import eventually

from inference.machine_state import conditions, heat, quiet_hours
from inference.scoring import UNKNOWN
from inference.telemetry.readings import DeviceReadings, Flag, Reading, Readings

AC = "/sys/class/power_supply/AC/online"
BATTERIES = ("/sys/class/power_supply/BAT0/energy_now", "/sys/class/power_supply/BAT1/energy_now")
THROTTLED = "/sys/devices/system/cpu/cpu2/thermal_throttle/core_throttle_count"
FAN, HEAT = "/sys/class/hwmon/hwmon2/fan1_input", "/sys/class/hwmon/hwmon10/temp1_input"


@pytest.mark.parametrize(
    ("text", "quiet", "loud"),
    [
        ("22-7", (22, 23, 0, 6), (7, 12, 21)),
        ("7-9", (7, 8), (6, 9, 23)),
        ("0-24", (), ()),
        ("12-12", (), (12, 0)),
    ],
)
def test_quiet_hours_may_pass_midnight(text: str, quiet: tuple[int, ...], loud: tuple[int, ...]) -> None:
    hours = quiet_hours(text)
    assert hours is not None
    assert all(hours.holds(hour) for hour in quiet)
    assert not any(hours.holds(hour) for hour in loud)


@pytest.mark.parametrize("text", ["22", "25-7", "-1-7", "night", "22-7-8"])
def test_other_hours_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two hours of the day such as 22-7"):
        quiet_hours(text)


def test_quiet_hours_are_the_usual_ones_on_a_machine_with_a_battery_alone() -> None:
    battery = Readings(battery=Reading(80.0, "%"))
    assert conditions(battery, "", 23).quiet_hours
    assert not conditions(battery, "", 12).quiet_hours
    assert not conditions(battery, "off", 23).quiet_hours
    assert not conditions(Readings(), "", 23).quiet_hours
    assert conditions(Readings(), "22-7", 23).quiet_hours


def test_what_is_not_known_of_a_machine_decides_nothing() -> None:
    nothing = conditions(Readings(), "off", 12)
    assert (nothing.battery_percent, nothing.on_battery, nothing.celsius, nothing.fan_percent) == (None,) * 4
    assert heat(Readings(), "NPU") is UNKNOWN


def test_a_card_has_its_own_fan_and_the_package_has_the_machines() -> None:
    card = DeviceReadings(id="GPU.1", kind="dgpu", throttling=Flag(True))
    readings = Readings(devices=(card, DeviceReadings(id="NPU", kind="npu")), mean_fan=Reading(90.0, "%"))
    assert (heat(readings, "GPU.1").fan_percent, heat(readings, "NPU").fan_percent) == (None, 90.0)
    assert (heat(readings, "GPU.1").throttling, heat(readings, "NPU").throttling) == (True, False)


# --- a server on a laptop -----------------------------------------------------------------------------------


def efficiency(server: RunningServer) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/efficiency", timeout=30).json()
    return found


def route(server: RunningServer, device: str = "") -> tuple[str, str]:
    wishes = {"X-Target-Backend": device, "X-Target-Strict": "true"} if device else {}
    body = {"model": "demo", "prompt": "hi", "stream": False, "options": {"num_predict": 1}}
    answer = httpx.post(f"{server.url}/api/generate", json=body, headers=wishes, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Backend-Used"], answer.headers["X-NPU-Proxy-Route-Reason"]


def without_joules(machine: Machine) -> None:
    """A counter that stands still would be measured as no power at all; without one watts stay assumed."""
    for zone in machine.path("/sys/class/powercap").iterdir():
        zone.unlink()


def thermal(server: RunningServer) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/thermal", timeout=30).json()
    return {name: field["value"] for name, field in found["system"].items() if isinstance(field, dict)}


def follows(server: RunningServer, mode: str, wanted: tuple[str, str], **seen: float | bool) -> None:
    """/thermal shows it, Auto stands for that mode, and a short chat goes there, for that reason."""
    eventually(lambda: seen.items() <= thermal(server).items())
    eventually(lambda: thermal(server) and efficiency(server)["effective_mode"] == mode)
    assert efficiency(server)["mode"] == "Auto"
    assert route(server) == wanted


def test_charger_battery_fan_and_heat_send_requests_where_the_mode_of_each_state_says(
    serve: Serve, tmp_path: Path
) -> None:
    """With less patience than by default: what is waited for is the same."""
    machine = laptop(tmp_path / "machine")
    without_joules(machine)
    server = serve(
        NPU_PROXY_SYSFS_ROOT=str(machine.root),
        NPU_PROXY_NPU_EMULATION="true",
        NPU_PROXY_MAX_PROMPT_LEN="256",
        NPU_PROXY_DEVICE="CPU",
        NPU_PROXY_QUIET_HOURS="off",
        NPU_PROXY_AUTO_MODE_AFTER="2",
    )
    for device in ("CPU", "NPU"):
        route(server, device)
    follows(server, "Performance", ("CPU", "preferred"), on_battery=False, mean_temperature=52, mean_fan=24)
    machine.set(THROTTLED, 4)
    eventually(lambda: route(server) == ("NPU", "thermal"))
    eventually(lambda: route(server) == ("CPU", "preferred"))
    machine.set(AC, 0)
    follows(server, "Balanced", ("CPU", "preferred"), on_battery=True, battery=87.5)
    for battery in BATTERIES:
        machine.set(battery, 5_700_000)
    follows(server, "UltraEfficiency", ("NPU", "battery"), battery=15.0)
    assert efficiency(server)["reason"] == "on battery, 15 % left"
    assert efficiency(server)["limits"] == {"max_watts": 10, "max_fan_percent": 30, "max_celsius": 65}
    machine.set(AC, 1)
    machine.set(FAN, 4500)
    follows(server, "Quiet", ("NPU", "limit_relaxed"), on_battery=False, mean_fan=90)
    machine.set(FAN, 1200)
    machine.set(HEAT, 80_000)
    follows(server, "Efficiency", ("NPU", "limit_relaxed"), mean_fan=24, mean_temperature=80)
    machine.set(HEAT, 52_000)
    follows(server, "Performance", ("CPU", "preferred"), mean_temperature=52)
