"""The choice by modes, limits, hints, heat and measured times, as a table: no server, no device."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from inference.device_names import chain
from inference.errors import DeviceUnavailable
from inference.modes import BALANCED, EFFICIENCY, MODES, PERFORMANCE, QUIET, ULTRA_EFFICIENCY
from inference.route_facts import Candidate, Facts
from inference.routing import choose
from inference.scoring import Readings

NPU = Candidate(device="NPU", kind="npu", limit_tokens=1801)
IGPU = Candidate(device="GPU.0", kind="igpu", limit_tokens=8192)
DGPU = Candidate(device="GPU.1", kind="dgpu", limit_tokens=8192)
CPU = Candidate(device="CPU", kind="cpu", limit_tokens=8192)
ALL = (NPU, IGPU, DGPU, CPU)
LAPTOP = (NPU, IGPU, CPU)


def but(candidate: Candidate, **changes: Any) -> Candidate:
    """The same with these fields; `celsius`, `fan`, `watts`, `busy` and `throttling` are readings."""
    spelled = {"celsius": "celsius", "fan": "fan_percent", "watts": "watts", "busy": "utilization_percent"}
    readings = {field: changes.pop(name) for name, field in spelled.items() if name in changes}
    if changes.pop("throttling", False):
        readings["throttling"] = True
    if readings:
        changes["readings"] = Readings(**readings)
    return msgspec.structs.replace(candidate, **changes)


def facts(tokens: int = 100, mode: str = "Auto", **changes: Any) -> Facts:
    given: dict[str, Any] = {"preferred": ("NPU", "GPU.0", "CPU"), "stored_mode": mode} | changes
    return Facts(prompt_tokens=tokens, mode=MODES.get(mode, PERFORMANCE), **given)


def first(given: Facts, candidates: tuple[Candidate, ...]) -> tuple[str, str]:
    choice = choose(given, candidates).choices[0]
    return choice.device, choice.reason


def test_a_hundred_short_prompts_stay_on_an_npu_that_was_measured_slower_than_the_cpu() -> None:
    candidates = (but(NPU, expected_s=9.0), but(CPU, expected_s=0.2))
    for tokens in range(1, 101):
        assert first(facts(tokens), candidates) == ("NPU", "within_npu_limit")


@pytest.mark.parametrize(
    ("mode", "candidates", "device"),
    [
        ("Auto", ALL, "NPU"),
        ("Balanced", ALL, "NPU"),
        ("Performance", ALL, "GPU.1"),
        ("Performance", LAPTOP, "GPU.0"),
        ("Performance", (NPU, CPU), "NPU"),
        ("Performance", (IGPU, CPU), "GPU.0"),
        ("Performance", (DGPU, CPU), "GPU.1"),
        ("Performance", (CPU,), "CPU"),
        ("Efficiency", ALL, "NPU"),
        ("Efficiency", (IGPU, DGPU, CPU), "GPU.0"),
        ("Efficiency", (DGPU, CPU), "CPU"),
        ("Efficiency", (NPU, CPU), "NPU"),
        ("Quiet", ALL, "NPU"),
        ("Quiet", (IGPU, CPU), "GPU.0"),
        ("Quiet", (IGPU, DGPU), "GPU.0"),
        ("UltraEfficiency", ALL, "NPU"),
        ("UltraEfficiency", (IGPU, DGPU, CPU), "GPU.0"),
        ("UltraEfficiency", (DGPU, CPU), "CPU"),
    ],
)  # fmt: skip
def test_each_mode_takes_the_device_that_it_is_for(
    mode: str, candidates: tuple[Candidate, ...], device: str
) -> None:
    assert first(facts(mode=mode), candidates)[0] == device


@pytest.mark.parametrize(
    ("case", "given", "candidates", "wanted"),
    [
        ("one device alone needs no reason", facts(mode="Performance"), (CPU,), ("CPU", "only_candidate")),
        ("a chosen mode is the reason", facts(mode="Performance"), ALL, ("GPU.1", "mode")),
        ("Efficiency too", facts(mode="Efficiency"), ALL, ("NPU", "mode")),
        # --- hints
        ("urgent: the fastest", facts(latency_critical=True), ALL, ("GPU.1", "latency_critical")),
        ("urgent on a laptop", facts(latency_critical=True), LAPTOP, ("GPU.0", "latency_critical")),
        ("sparing: the least power", facts(power_efficient=True), ALL, ("NPU", "power_efficient")),
        ("sparing without an NPU", facts(power_efficient=True), (IGPU, CPU), ("GPU.0", "power_efficient")),
        ("sparing, a long prompt", facts(3000, power_efficient=True), ALL, ("GPU.0", "power_efficient")),
        ("urgent wins over sparing", facts(latency_critical=True, power_efficient=True), ALL,
         ("GPU.1", "latency_critical")),
        ("urgent in Balanced", facts(mode="Balanced", latency_critical=True), ALL, ("GPU.1", "latency_critical")),
        ("urgent in Efficiency is weighed as all others", facts(mode="Efficiency", latency_critical=True), ALL,
         ("NPU", "mode")),
        ("urgent in Quiet too", facts(mode="Quiet", latency_critical=True), ALL, ("NPU", "mode")),
        ("sparing in Performance", facts(mode="Performance", power_efficient=True), ALL, ("NPU", "power_efficient")),
        # --- limits of the request
        ("at most 20 W", facts(max_watts=20), ALL, ("NPU", "power_efficient")),
        ("at most 12 W, a long prompt", facts(3000, max_watts=12), ALL, ("GPU.0", "power_efficient")),
        ("at most 11.9 W, a long prompt: the least excess", facts(3000, max_watts=11.9), ALL,
         ("GPU.0", "limit_relaxed")),
        ("at most 1 W: nobody, so the NPU", facts(max_watts=1), ALL, ("NPU", "limit_relaxed")),
        ("within 200 ms", facts(max_latency_s=0.2), ALL, ("GPU.1", "latency_critical")),
        ("within 400 ms", facts(max_latency_s=0.4), ALL, ("GPU.1", "latency_critical")),
        ("within 50 ms: nobody, so the least excess", facts(max_latency_s=0.05), ALL, ("GPU.1", "limit_relaxed")),
        ("within 50 ms on a CPU", facts(max_latency_s=0.05), (CPU,), ("CPU", "limit_relaxed")),
        ("within 400 ms, the fast one is busy", facts(max_latency_s=0.4), (NPU, IGPU, but(DGPU, wait_s=1), CPU),
         ("GPU.0", "latency_critical")),
        ("time and power at once", facts(max_latency_s=0.5, max_watts=20), ALL, ("GPU.0", "latency_critical")),
        ("what was read counts, not what is assumed", facts(max_watts=20), (but(NPU, watts=25), CPU, IGPU),
         ("GPU.0", "power_efficient")),
        ("a target is bound by the caller's own limits",
         facts(target="GPU.1", max_watts=20), ALL, ("NPU", "target_unavailable")),
        # --- limits of the mode
        ("Efficiency: 15 W, and a long prompt", facts(3000, mode="Efficiency"), ALL, ("GPU.0", "mode")),
        ("Efficiency on a CPU: relaxed", facts(mode="Efficiency"), (CPU,), ("CPU", "limit_relaxed")),
        ("UltraEfficiency on a CPU: relaxed", facts(mode="UltraEfficiency"), (CPU,), ("CPU", "limit_relaxed")),
        ("UltraEfficiency, a long prompt", facts(3000, mode="UltraEfficiency"), (NPU, CPU), ("CPU", "limit_relaxed")),
        ("Balanced: 60 W", facts(mode="Balanced", latency_critical=True), (but(DGPU, watts=80), IGPU, CPU),
         ("GPU.0", "latency_critical")),
        ("Performance has no watts", facts(mode="Performance"), (but(DGPU, watts=300), CPU), ("GPU.1", "mode")),
        ("another server has none", facts(mode="Balanced", latency_critical=True),
         (but(DGPU, watts=80, local=False), CPU), ("GPU.1", "latency_critical")),
        ("Performance's heat does not bind urgent ones", facts(mode="Performance", latency_critical=True),
         (but(DGPU, celsius=84), CPU), ("GPU.1", "latency_critical")),
        ("the caller's device is not bound by the mode", facts(mode="Quiet", target="GPU.1"), ALL, ("GPU.1", "target")),
        ("nor by its heat below the critical one", facts(mode="Quiet", target="GPU.1"),
         (NPU, but(DGPU, celsius=80)), ("GPU.1", "target")),
        ("but by the critical one", facts(target="GPU.1"), (NPU, but(DGPU, celsius=95), CPU),
         ("NPU", "target_unavailable")),
        ("Auto on battery: the chain within the limits", facts(3000, mode_by_battery=True, mode=EFFICIENCY.name,
         stored_mode="Auto"), LAPTOP, ("GPU.0", "prompt_exceeds_npu_limit")),
        ("Auto on battery, the preferred one is over", facts(mode=EFFICIENCY.name, stored_mode="Auto",
         mode_by_battery=True), (but(NPU, watts=20), IGPU, CPU), ("GPU.0", "battery")),
        ("Auto in quiet hours", facts(mode=QUIET.name, stored_mode="Auto"), (but(NPU, watts=20), IGPU, CPU),
         ("GPU.0", "mode")),
        # --- heat
        ("a hot NPU is left", facts(), (but(NPU, celsius=95), IGPU, CPU), ("GPU.0", "thermal")),
        ("one that throttles is left", facts(), (but(NPU, throttling=True), IGPU, CPU), ("GPU.0", "thermal")),
        ("at 80 it stays in the chain", facts(), (but(NPU, celsius=80), IGPU, CPU), ("NPU", "within_npu_limit")),
        ("all are hot: the least hot", facts(), (but(NPU, celsius=99), but(IGPU, celsius=96), but(CPU, celsius=98)),
         ("GPU.0", "limit_relaxed")),
        ("Performance: a warm GPU loses its lead", facts(mode="Performance"),
         (but(DGPU, celsius=89), IGPU, CPU), ("GPU.0", "mode")),
        ("Quiet: 71 degrees are too many", facts(mode="Quiet"), (but(NPU, celsius=71), IGPU), ("GPU.0", "mode")),
        ("Quiet: a fan at 41 %", facts(mode="Quiet"), (but(NPU, fan=41), IGPU), ("GPU.0", "mode")),
        ("Balanced: a fan at 90 %", facts(mode="Balanced"), (but(NPU, fan=90), IGPU, CPU), ("GPU.0", "mode")),
        ("a busy device loses points", facts(mode="Performance"), (but(IGPU, busy=100), CPU), ("GPU.0", "mode")),
        # --- waiting and loading
        ("urgent does not wait for a compile", facts(latency_critical=True),
         (but(DGPU, ready=False, load_s=20), CPU), ("CPU", "latency_critical")),
        ("nor does Efficiency", facts(mode="Efficiency"), (but(NPU, ready=False, load_s=120), IGPU), ("GPU.0", "mode")),
        ("a cold NPU does not beat a loaded CPU", facts(power_efficient=True),
         (but(NPU, ready=False, load_s=120), CPU), ("CPU", "power_efficient")),
        ("a short load is waited for", facts(power_efficient=True), (but(NPU, ready=False, load_s=1), CPU),
         ("NPU", "power_efficient")),
        ("urgent: a long line is not waited in", facts(latency_critical=True),
         (but(DGPU, wait_s=30, queue=10), CPU), ("CPU", "latency_critical")),
        ("sparing: a short line is", facts(power_efficient=True), (but(NPU, wait_s=3, queue=1), CPU),
         ("NPU", "power_efficient")),
        ("all cold: the one that is ready first, if urgent", facts(latency_critical=True),
         (but(DGPU, ready=False, load_s=20), but(CPU, ready=False, load_s=3)), ("CPU", "latency_critical")),
        # --- measured
        ("measured: the faster one", facts(scored=True), (but(NPU, expected_s=4.0), but(CPU, expected_s=0.3)),
         ("CPU", "measured_faster")),
        ("measured: power still counts a little", facts(scored=True, mode="Balanced"),
         (but(NPU, expected_s=0.5), but(CPU, expected_s=0.4)), ("NPU", "measured_faster")),
        ("one without a profile: nobody's is used", facts(scored=True), (but(NPU, expected_s=4.0), CPU),
         ("NPU", "preferred")),
        ("urgent by measured times", facts(latency_critical=True),
         (but(DGPU, expected_s=3.0), but(CPU, expected_s=0.5)), ("CPU", "latency_critical")),
        ("Performance by measured times", facts(mode="Performance"),
         (but(IGPU, expected_s=5.0), but(CPU, expected_s=0.5)), ("CPU", "mode")),
        # --- who can comes before all else
        ("urgent, but the prompt is too long for it", facts(9000, latency_critical=True),
         (but(DGPU, limit_tokens=4096), but(CPU, limit_tokens=16384)), ("CPU", "only_candidate")),
        ("urgent, but its breaker is open", facts(latency_critical=True), (but(DGPU, breaker_s=5), CPU),
         ("CPU", "only_candidate")),
        ("urgent, but the key forbids it", facts(latency_critical=True, allowed=("CPU",)), (DGPU, CPU),
         ("CPU", "only_candidate")),
        ("sparing, but the key forbids the NPU", facts(power_efficient=True, allowed=("GPU", "CPU")), ALL,
         ("GPU.0", "power_efficient")),
        ("limits are relaxed, the key is not", facts(max_watts=1, allowed=("CPU",)), ALL, ("CPU", "limit_relaxed")),
        ("a target wins over a hint", facts(target="CPU", latency_critical=True), ALL, ("CPU", "target")),
        ("a target wins over the mode", facts(target="CPU", mode="Performance"), ALL, ("CPU", "target")),
        ("a target that is away: the hint", facts(target="NPU", latency_critical=True), (DGPU, CPU),
         ("GPU.1", "target_unavailable")),
    ],
)  # fmt: skip
def test_the_device_that_answers_and_why(
    case: str, given: Facts, candidates: tuple[Candidate, ...], wanted: tuple[str, str]
) -> None:
    assert first(given, candidates) == wanted, case


@pytest.mark.parametrize(
    ("given", "candidates"),
    [
        (facts(max_watts=1, strict=True), ALL),
        (facts(max_latency_s=0.01, strict=True), (CPU,)),
        (facts(mode="UltraEfficiency", strict=True), (CPU,)),
    ],
)
def test_strict_refuses_to_exceed_a_limit_and_names_each_figure(
    given: Facts, candidates: tuple[Candidate, ...]
) -> None:
    with pytest.raises(DeviceUnavailable, match="no device is within the limits") as refused:
        choose(given, candidates)
    for candidate in candidates:
        assert candidate.device in str(refused.value)


def test_what_would_have_won_loads_beside_the_answer() -> None:
    plan = choose(facts(power_efficient=True), (but(NPU, ready=False, load_s=120), CPU))
    assert (plan.choices[0].device, plan.load_in_background) == ("CPU", "NPU")
    plan = choose(facts(power_efficient=True), (but(NPU, ready=False, load_s=120, fits_memory=False), CPU))
    assert (plan.choices[0].device, plan.load_in_background) == ("CPU", "")


def test_devices_over_the_limits_are_the_last_to_be_tried() -> None:
    plan = choose(facts(mode="Quiet"), ALL)
    assert [(choice.device, choice.reason) for choice in plan.choices] == [
        ("NPU", "mode"),
        ("GPU.0", "mode"),
        ("CPU", "limit_relaxed"),
        ("GPU.1", "limit_relaxed"),
    ]


def test_a_chain_of_the_operators_is_kept_in_auto_and_left_in_performance() -> None:
    wished = facts(preferred=chain("CPU", ""))
    assert first(wished, ALL) == ("CPU", "preferred")
    assert first(facts(preferred=chain("CPU", ""), mode="Performance"), ALL) == ("GPU.1", "mode")


@pytest.mark.parametrize("mode", [PERFORMANCE, BALANCED, EFFICIENCY, QUIET, ULTRA_EFFICIENCY])
@pytest.mark.parametrize("candidate", ALL)
def test_every_mode_answers_on_any_device_that_is_alone(mode: Any, candidate: Candidate) -> None:
    device, reason = first(facts(mode=mode.name), (candidate,))
    assert device == candidate.device
    assert reason in (
        "only_candidate",
        "limit_relaxed",
        "within_npu_limit",
        "preferred",
        "device_unavailable",
    )
