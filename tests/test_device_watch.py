"""Devices that come late, go and come back while the server runs."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from conftest import RunningServer, start_server
from machines import NPU_FACTS, Machine
from openvino_runtime import LINKS, Runtime
from server_rows import eventually, rows

from inference.device_watch import EVERY_S, SETTLE_S, TROUBLE_S, AskTimes

# --- when a fresh worker is asked -----------------------------------------------------------------------------


def due(times: AskTimes, until: float, step: float = 1.0) -> list[float]:
    """The seconds at which it was asked."""
    found, now = [], 0.0
    while now <= until:
        if times.is_due(now):
            times.asked(now)
            found.append(now)
        now += step
    return found


def test_nothing_new_is_asked_about_every_ten_minutes() -> None:
    assert due(AskTimes(0), 2 * EVERY_S + 10, 5) == [EVERY_S, 2 * EVERY_S]


def test_a_change_is_asked_about_at_once_and_when_a_driver_has_settled() -> None:
    times = AskTimes(0)
    times.changed(3)
    assert due(times, 100) == [3 + pause for pause in SETTLE_S]


def test_failures_are_asked_about_once_in_a_while() -> None:
    times = AskTimes(0)
    asked = []
    for now in range(100):  # each second another one
        times.trouble(now)
        if times.is_due(now):
            times.asked(now)
            asked.append(float(now))
    assert asked == [TROUBLE_S, 2 * TROUBLE_S, 3 * TROUBLE_S]
    quiet = AskTimes(0)
    quiet.trouble(0.0)
    assert due(quiet, 100) == []


# --- a runtime whose CPU comes and goes, beside an NPU that stays ------------------------------------------------

LISTED = "/sys/class/accel/accel0"
LONG_S = 60.0
"""A look, a worker's start and a load, on a busy machine."""


def embed(server: RunningServer, device: str, strict: str) -> httpx.Response:
    body = {"model": "all-minilm", "input": ["a text that is embedded"]}
    headers = {"X-Target-Backend": device, "X-Target-Strict": strict, "X-Cache-Enabled": "false"}
    return httpx.post(f"{server.url}/api/embed", json=body, headers=headers, timeout=120)


def answers(server: RunningServer, device: str) -> bool:
    return embed(server, device, "true").status_code == 200


def route(server: RunningServer, device: str) -> tuple[str, str, str]:
    answer = embed(server, device, "false")
    assert answer.status_code == 200, answer.text
    return (
        answer.headers["X-Backend-Used"],
        answer.headers["X-NPU-Proxy-Route-Reason"],
        answer.headers.get("X-NPU-Proxy-Fallback-Reason", ""),
    )


def loaded(server: RunningServer) -> int:
    return len(httpx.get(f"{server.url}/api/ps", timeout=30).json()["models"])


def names(server: RunningServer) -> list[str]:
    return [row["name"] for row in rows(server, "SELECT name FROM registry_device ORDER BY name")]


@pytest.mark.skipif(not LINKS, reason="the runtime's folder is made of links to Linux libraries")
def test_a_device_that_comes_late_goes_and_comes_back(tmp_path: Path) -> None:
    machine, runtime = Machine(tmp_path / "machine"), Runtime(tmp_path / "runtime")
    machine.proc()
    runtime.unplug()
    server = start_server(
        tmp_path,
        python=runtime.python,
        NPU_PROXY_SYSFS_ROOT=str(machine.root),
        NPU_PROXY_NPU_EMULATION="true",
    )
    try:
        server.wait_until_ready()
        eventually(lambda: names(server) == ["NPU"])
        refused = embed(server, "CPU", "true")
        assert refused.status_code == 503
        assert refused.json()["error"] == "CPU cannot answer now: device unavailable"

        chat = {"model": "demo", "prompt": "hi", "stream": False}
        no_npu = {"X-Target-Backend": "CPU", "X-Target-Strict": "true"}
        silent = httpx.post(f"{server.url}/api/generate", json=chat, headers=no_npu, timeout=60)
        assert (silent.status_code, silent.json()) == (503, refused.json())

        runtime.plug()
        machine.add("accel", "accel0", "pci/npu", {"device": NPU_FACTS})
        eventually(lambda: answers(server, "CPU"), LONG_S)
        assert route(server, "CPU") == ("CPU", "target", "")
        eventually(lambda: names(server) == ["CPU", "NPU"])
        assert answers(server, "NPU")
        assert loaded(server) == 2

        runtime.unplug()
        machine.vanish("accel", "accel0")
        eventually(lambda: not answers(server, "CPU"), LONG_S)
        assert embed(server, "CPU", "true").json() == refused.json()
        assert route(server, "CPU") == ("NPU", "target_unavailable", "device_unavailable")
        assert loaded(server) == 1, "the copy on the device that has gone is unloaded"

        runtime.plug()
        machine.path(LISTED).symlink_to(machine.path("/sys/devices/pci/npu"))
        eventually(lambda: answers(server, "CPU"), LONG_S)
        assert route(server, "CPU") == ("CPU", "target", "")
    finally:
        server.stop()
