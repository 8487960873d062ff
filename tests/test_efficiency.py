"""The efficiency mode over HTTP and by command, and how it and the hints of a request change the device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve, start_server
from server_rows import eventually, manage

from inference.errors import BadRequest
from inference.modes import (
    AUTO,
    BALANCED,
    EFFICIENCY,
    NAMES,
    PERFORMANCE,
    QUIET,
    ULTRA_EFFICIENCY,
    Conditions,
    Efficiency,
    Mode,
    named,
    resolve,
)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        *((name, name) for name in NAMES),
        ("ultra efficiency", "UltraEfficiency"),
        ("ULTRA-EFFICIENCY", "UltraEfficiency"),
        ("auto", AUTO),
        ("quiet", "Quiet"),
    ],
)
def test_a_mode_is_named_in_any_spelling(given: str, name: str) -> None:
    assert named(given) == name


def test_an_unknown_mode_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(
        BadRequest, match="mode: 'turbo' is none of Performance, Balanced, Efficiency, Quiet, Auto"
    ):
        named("turbo")


@pytest.mark.parametrize(
    ("now", "mode", "battery"),
    [
        ({}, PERFORMANCE, False),
        ({"on_battery": False, "battery_percent": 5}, PERFORMANCE, False),
        ({"on_battery": True, "battery_percent": 19}, ULTRA_EFFICIENCY, True),
        ({"on_battery": True, "battery_percent": 20}, EFFICIENCY, True),
        ({"on_battery": True, "battery_percent": 49}, EFFICIENCY, True),
        ({"on_battery": True, "battery_percent": 50}, BALANCED, True),
        ({"on_battery": True}, BALANCED, True),
        ({"on_battery": True, "battery_percent": 80, "quiet_hours": True}, QUIET, False),
        ({"on_battery": True, "battery_percent": 30, "quiet_hours": True}, EFFICIENCY, True),
        ({"quiet_hours": True, "celsius": 90}, QUIET, False),
        ({"celsius": 75}, PERFORMANCE, False),
        ({"celsius": 76}, EFFICIENCY, False),
        ({"celsius": 76, "fan_percent": 90}, EFFICIENCY, False),
        ({"fan_percent": 71}, QUIET, False),
        ({"fan_percent": 70}, PERFORMANCE, False),
        ({"battery_percent": 10}, PERFORMANCE, False),
    ],
)
def test_auto_stands_for_the_first_that_holds(now: dict[str, Any], mode: Mode, battery: bool) -> None:
    found = resolve(Conditions(**now))
    assert (found.mode, found.battery) == (mode, battery)
    assert found.reason


def test_auto_changes_after_half_a_minute_that_says_the_same_and_does_not_flap() -> None:
    efficiency = Efficiency()
    hot, cool = Conditions(celsius=80.0), Conditions(celsius=60.0)
    efficiency.observe(cool, 0)
    assert efficiency.now.mode is PERFORMANCE
    for second in range(10, 200, 20):  # each look says something else
        efficiency.observe(hot if second % 40 == 10 else cool, second)
        assert efficiency.now.mode is PERFORMANCE
    for second in (200, 210, 220):
        efficiency.observe(hot, second)
        assert efficiency.now.mode is PERFORMANCE
    efficiency.observe(hot, 230)
    assert (efficiency.now.mode, efficiency.now.reason) == (EFFICIENCY, "80 °C on average")


def test_the_first_look_decides_at_once_and_a_chosen_mode_is_not_looked_past() -> None:
    efficiency = Efficiency()
    low = Conditions(on_battery=True, battery_percent=15)
    efficiency.observe(low, 0)
    assert efficiency.now.mode is ULTRA_EFFICIENCY
    efficiency.choose("Performance")
    efficiency.observe(low, 100)
    assert (efficiency.now.mode, efficiency.now.reason) == (PERFORMANCE, "chosen")
    efficiency.choose(AUTO)
    efficiency.observe(low, 110)
    assert efficiency.now.mode is ULTRA_EFFICIENCY


# --- over HTTP --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The CPU is preferred, and there is an emulated NPU, with the model on both."""
    running = start_server(
        tmp_path_factory.mktemp("two"), NPU_PROXY_NPU_EMULATION="true", NPU_PROXY_DEVICE="CPU"
    )
    try:
        running.wait_until_ready()
        for device in ("CPU", "NPU"):
            assert route(running, {"X-Target-Backend": device, "X-Target-Strict": "true"})[0] == device
        yield running
    finally:
        running.stop()


def generate(server: RunningServer, headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"model": "demo", "prompt": "hi", "stream": False, "options": {"num_predict": 1}}
    answer = httpx.post(f"{server.url}/api/generate", json=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer


def route(server: RunningServer, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """Where a short answer was sent, and why."""
    answer = generate(server, headers)
    return answer.headers["X-Backend-Used"], answer.headers["X-NPU-Proxy-Route-Reason"]


def choose(server: RunningServer, mode: str) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}/efficiency", json={"mode": mode}, timeout=30)
    assert answer.status_code == 200, answer.text
    chosen: dict[str, Any] = answer.json()
    return chosen


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Latency-Critical": "true"}, "latency_critical"),
        ({"X-Media-Type": "realtime"}, "latency_critical"),
        ({"X-Priority": "critical"}, "latency_critical"),
        ({"X-Max-Latency-Ms": "50"}, "limit_relaxed"),
    ],
)
def test_before_both_were_measured_the_npu_is_taken_for_the_faster(
    two_devices: RunningServer, headers: dict[str, str], reason: str
) -> None:
    """The first tests of the file: the CPU has answered once, so the start values of both are compared."""
    answer = generate(two_devices, headers)
    assert (answer.headers["X-Backend-Used"], answer.headers["X-NPU-Proxy-Route-Reason"]) == ("NPU", reason)
    assert int(answer.headers["X-Estimated-Latency-Ms"]) >= 800


def test_each_mode_changes_where_a_request_goes(two_devices: RunningServer) -> None:
    found = {}
    for mode in NAMES:
        said = choose(two_devices, mode.lower())
        assert said["mode"] == mode
        found[mode] = route(two_devices)
    by_mode = ("NPU", "mode")
    assert found == {
        "Auto": ("CPU", "preferred"),
        "Balanced": ("CPU", "preferred"),
        **dict.fromkeys(("Performance", "Efficiency", "Quiet", "UltraEfficiency"), by_mode),
    }
    assert choose(two_devices, "Auto")["mode"] == "Auto"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, ("CPU", "preferred")),
        ({"X-Power-Efficient": "yes"}, ("NPU", "power_efficient")),
        ({"X-Max-Power-Watts": "4.5"}, ("NPU", "power_efficient")),
        ({"X-Max-Power-Watts": "0.5"}, ("NPU", "limit_relaxed")),
        ({"X-Power-Efficient": "true", "X-Target-Backend": "CPU"}, ("CPU", "target")),
        ({"X-Power-Efficient": "false"}, ("CPU", "preferred")),
    ],
)
def test_a_hint_changes_where_its_request_goes(
    two_devices: RunningServer, headers: dict[str, str], wanted: tuple[str, str]
) -> None:
    assert route(two_devices, headers) == wanted


def test_a_strict_limit_that_nobody_keeps_is_a_503_with_every_figure(two_devices: RunningServer) -> None:
    body = {"model": "demo", "prompt": "hi", "stream": False, "options": {"num_predict": 1}}
    wishes = {"X-Max-Power-Watts": "0.5", "X-Target-Strict": "true"}
    answer = httpx.post(f"{two_devices.url}/api/generate", json=body, headers=wishes, timeout=120)
    assert answer.status_code == 503
    assert "NPU power: 3 W of 0.5" in answer.json()["error"]
    assert "CPU power: 28 W of 0.5" in answer.json()["error"]


def test_the_estimates_that_were_compared_are_told(two_devices: RunningServer) -> None:
    answer = generate(two_devices, {"X-Power-Efficient": "true"})
    assert answer.headers["X-Estimated-Power-W"] == answer.headers["X-Estimated-Power-Watts"] == "3.0"
    assert int(answer.headers["X-Estimated-Latency-Ms"]) > 0


@pytest.mark.parametrize("body", [b'{"mode": "turbo"}', b'{"mode": ""}', b"{}", b"", b'{"mode": 5}', b"[]"])
def test_a_bad_choice_is_refused_and_changes_nothing(two_devices: RunningServer, body: bytes) -> None:
    before = httpx.get(f"{two_devices.url}/efficiency", timeout=30).json()
    answer = httpx.post(f"{two_devices.url}/efficiency", content=body, timeout=30)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)
    assert httpx.get(f"{two_devices.url}/efficiency", timeout=30).json() == before


def test_the_command_chooses_for_a_running_server_and_the_choice_outlives_a_restart(serve: Serve) -> None:
    server = serve(NPU_PROXY_MODE="balanced").wait_until_ready()

    def mode() -> str:
        return str(httpx.get(f"{server.url}/efficiency", timeout=30).json()["mode"])

    assert mode() == "Balanced"
    done = manage(server.data_dir, "mode", "quiet", "--json")
    assert json.loads(done.stdout)["mode"] == "Quiet"
    eventually(lambda: mode() == "Quiet")
    for unknown in ("loud", ""):
        refused = manage(server.data_dir, "mode", unknown)
        assert refused.returncode == 1
        assert "none of Performance" in refused.stderr
    server.stop()
    server = serve(NPU_PROXY_MODE="balanced", NPU_PROXY_DATA_DIR=str(server.data_dir)).wait_until_ready()
    assert mode() == "Quiet"
