"""The X- headers: wishes in, facts out."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from compat_api import headers
from inference.errors import BadRequest
from inference.events import Start
from inference.route_facts import Route
from inference.types import Placement


@pytest.mark.parametrize(
    ("given", "placement"),
    [
        ({}, Placement()),
        ({"accept": "GPU"}, Placement()),
        ({"x-npu-proxy-device": "gpu.1"}, Placement(device="GPU.1")),
        ({"x-npu-proxy-device": "auto"}, Placement()),
        ({"x-npu-proxy-device": "NPU", "x-target-backend": "CPU"}, Placement(device="CPU")),
        ({"x-target-strict": "Yes", "x-target-backend": "npu"}, Placement(device="NPU", strict=True)),
        ({"x-target-strict": "off"}, Placement()),
        ({"x-priority": "best-effort"}, Placement(priority=0)),
        ({"x-priority": "Low"}, Placement(priority=0)),
        ({"x-priority": "normal"}, Placement(priority=1)),
        ({"x-priority": "high"}, Placement(priority=2)),
        ({"x-priority": "realtime"}, Placement(priority=3, latency_critical=True)),
        ({"x-media-type": "Realtime"}, Placement(priority=3, latency_critical=True)),
        ({"x-media-type": "audio"}, Placement(priority=2)),
        ({"x-media-type": "audio", "x-priority": "low"}, Placement(priority=0)),
        ({"x-latency-critical": "on"}, Placement(latency_critical=True)),
        ({"x-power-efficient": "1"}, Placement(power_efficient=True)),
        ({"x-max-latency-ms": "50.5"}, Placement(max_latency_ms=50.5)),
        ({"x-max-power-watts": "15"}, Placement(max_watts=15.0)),
        ({"x-remote-allowed": "false"}, Placement(remote=False, kept_by=("X-Remote-Allowed: false",))),
        ({"x-cache-enabled": "no"}, Placement(cache=False)),
        ({"x-cache-enabled": ""}, Placement()),
        ({"x-deadline-ms": " 1500 "}, Placement(deadline_ms=1500)),
    ],
)
def test_wishes_become_a_placement(given: dict[str, str], placement: Placement) -> None:
    assert headers.placement([(name.encode(), value.encode()) for name, value in given.items()]) == placement


def test_a_header_wins_over_the_option() -> None:
    assert headers.placement([(b"x-npu-proxy-device", b"CPU")], "GPU").device == "CPU"
    assert headers.placement([], "GPU").device == "GPU"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-NPU-Proxy-Device", "TPU"),
        ("X-NPU-Proxy-Device", "GPU.x"),
        ("X-NPU-Proxy-Device", "CPU;NPU"),
        ("X-Target-Backend", "\xff"),
        ("X-Target-Strict", "maybe"),
        ("X-Priority", "urgent"),
        ("X-Deadline-Ms", "soon"),
        ("X-Deadline-Ms", "-5"),
        ("X-Deadline-Ms", "0"),
        ("X-Deadline-Ms", "1.5"),
        ("X-Deadline-Ms", "9" * 5000),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_header(name: str, value: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        headers.placement([(name.lower().encode(), value.encode("latin-1"))])
    assert str(refusal.value).startswith(f"{name}: ")
    assert refusal.value.field == name


ROUTE = Route(requested="NPU", routed="CPU", executed="NPU (emulated)", reason="prompt_exceeds_npu_limit")
START = Start(route=ROUTE, model_digest="ab" * 32, prompt_tokens=12, queue_s=0.00151, load_s=0.0)


def facts(start: Start, **more: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers.of_start(start, **more)}


def test_facts_name_the_three_devices_and_the_reason_in_both_spellings() -> None:
    assert facts(START) == {
        "x-npu-proxy-device": "NPU (emulated)",
        "x-npu-proxy-requested-device": "NPU",
        "x-npu-proxy-routed-device": "CPU",
        "x-npu-proxy-execution-device": "NPU (emulated)",
        "x-npu-proxy-route-reason": "prompt_exceeds_npu_limit",
        "x-npu-proxy-token-count": "12",
        "x-npu-proxy-model": "ab" * 32,
        "x-npu-proxy-fallback": "false",
        "x-npu-proxy-queue-ms": "1.5",
        "x-backend-used": "CPU",
        "x-routing-reason": "prompt-exceeds-npu-limit",
    }


def test_what_happened_only_sometimes_is_sent_only_then() -> None:
    route = structs.replace(ROUTE, fallback_reason="load_failed", alternatives=("GPU", "NPU"))
    sent = facts(structs.replace(START, route=route, truncated_messages=3), truncated_tokens=2)
    assert sent["x-npu-proxy-fallback"] == "true"
    assert sent["x-npu-proxy-fallback-reason"] == "load_failed"
    assert sent["x-alternatives"] == "GPU, NPU"
    assert sent["x-npu-proxy-truncated-messages"] == "3"
    assert sent["x-npu-proxy-truncated-tokens"] == "2"


def test_a_value_is_one_short_line_of_ascii() -> None:
    route = structs.replace(ROUTE, fallback_reason="driver:\r\nSet-Cookie: é" + "x" * 1000)
    reason = facts(structs.replace(START, route=route))["x-npu-proxy-fallback-reason"]
    assert reason.startswith("driver: Set-Cookie:  x")
    assert len(reason) == 200
