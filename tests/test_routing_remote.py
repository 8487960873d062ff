"""Other servers among the candidates, as a table: their place in the chain, their limits, and what stays here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from inference.device_names import chain, target
from inference.errors import (
    BadRequest,
    BreakerOpen,
    CapabilityMissing,
    ContextLengthExceeded,
    DeviceUnavailable,
    InferenceError,
    NotAllowed,
)
from inference.modes import EFFICIENCY, PERFORMANCE
from inference.route_facts import Candidate, Facts
from inference.routing import choose
from inference.scoring import Traits


def cpu(**changes: Any) -> Candidate:
    return Candidate(**{"device": "CPU", "limit_tokens": 4096, **changes})


def npu(**changes: Any) -> Candidate:
    return Candidate(**{"device": "NPU", "kind": "npu", "limit_tokens": 1801, **changes})


def box(**changes: Any) -> Candidate:
    fields = {"device": "box", "kind": "dgpu", "local": False, "limit_tokens": 1 << 40}
    return Candidate(**{**fields, **changes})


def facts(tokens: int = 100, **changes: Any) -> Facts:
    fields = {
        "prompt_tokens": tokens,
        "preferred": chain("NPU", ""),
        "remote_forbidden_by": "X-Remote-Allowed",
    }
    return Facts(**{**fields, **changes})


def alone(**changes: Any) -> Facts:
    """Of a model that only other servers have: nothing is counted, and no device of this machine is wanted."""
    return facts(0, preferred=(), **changes)


PERFORM: dict[str, Any] = {"stored_mode": "Performance", "mode": PERFORMANCE}
SAVE: dict[str, Any] = {"stored_mode": "Efficiency", "mode": EFFICIENCY}


@pytest.mark.parametrize(
    ("case", "facts", "candidates", "device", "reason"),
    [
        ("what is here goes before what is elsewhere", facts(), (npu(), cpu(), box()), "NPU",
         "within_npu_limit"),
        ("also the last of the chain", facts(), (cpu(), box()), "CPU", "device_unavailable"),
        ("all that is here is busy", facts(), (npu(wait_s=5), cpu(wait_s=9), box()), "box", "busy"),
        ("what is here compiles", facts(), (cpu(ready=False, load_s=20), box()), "box", "device_unavailable"),
        ("a prompt too long for all that is here", facts(9000), (npu(), cpu(), box()), "box",
         "prompt_exceeds_npu_limit"),
        ("what is here crashed", facts(), (cpu(breaker_s=4), box()), "box", "device_unavailable"),
        ("it is named", facts(target="box"), (npu(), cpu(), box()), "box", "target"),
        ("it is named and strict", facts(target="box", strict=True), (cpu(), box()), "box", "target"),
        ("it is named and away", facts(target="box"), (npu(), box(available=False)), "NPU",
         "target_unavailable"),
        ("it is named, and its breaker is open", facts(target="box"), (npu(), box(breaker_s=3)), "NPU",
         "target_unavailable"),
        ("it is named, and has not the model", facts(target="box"), (npu(), box(incapable="no")), "NPU",
         "target_unavailable"),
        ("the model is there alone", alone(), (box(),), "box", "preferred"),
        ("the model is there alone, CPU is named", alone(target="CPU"), (box(),), "box",
         "target_unavailable"),
        ("of two the first, which has less to do", alone(), (box(device="a"), box(device="b")), "a",
         "preferred"),
        ("of two the one that is well", alone(), (box(device="a", available=False), box(device="b")), "b",
         "device_unavailable"),
        ("of two the one that can", alone(), (box(device="a", incapable="no"), box(device="b")), "b",
         "capability"),
        ("of two the one with a free slot", alone(), (box(device="a", wait_s=9), box(device="b")), "b",
         "busy"),
        ("Performance takes the fastest, wherever it is", facts(**PERFORM), (npu(), cpu(), box()),
         "box", "mode"),
        ("a hint for speed as well", facts(latency_critical=True), (npu(), cpu(), box()), "box",
         "latency_critical"),
        ("its own latency counts", facts(**PERFORM),
         (cpu(), box(kind="cpu", traits=Traits(watts=1, latency_s=30, priority=0))), "CPU", "mode"),
        ("saving power keeps the NPU", facts(**SAVE), (npu(), cpu(), box()), "NPU", "mode"),
        ("a mode's watts bind no other server", facts(**SAVE), (cpu(), box(kind="cpu")), "box", "mode"),
        ("a limit of the request does", facts(max_watts=40), (cpu(), box()), "CPU", "power_efficient"),
        ("with the watts of its row it is within", facts(max_watts=40),
         (cpu(wait_s=50), box(traits=Traits(watts=10, latency_s=0.1, priority=9))), "box", "power_efficient"),
        ("kept here: what is here answers", facts(remote=False), (npu(), cpu(), box()), "NPU",
         "within_npu_limit"),
        ("kept here: in every mode", facts(remote=False, **PERFORM), (npu(), cpu(), box()), "NPU", "mode"),
        ("kept here: though it waits", facts(remote=False), (cpu(wait_s=99), box()), "CPU",
         "device_unavailable"),
        ("kept here: though no limit holds", facts(remote=False, max_watts=1), (cpu(), box()), "CPU",
         "limit_relaxed"),
        ("kept here: a failed load is tried again", facts(remote=False), (cpu(load_failed="no"), box()),
         "CPU",
         "device_unavailable"),
        ("a key for it alone", facts(allowed=("box",)), (npu(), cpu(), box()), "box", "preferred"),
        ("a key for the CPU alone", facts(allowed=("CPU",)), (cpu(wait_s=99), box()), "CPU", "preferred"),
    ],
)  # fmt: skip
def test_who_answers(
    case: str, facts: Facts, candidates: tuple[Candidate, ...], device: str, reason: str
) -> None:
    first = choose(facts, candidates).choices[0]
    assert (first.device, first.reason) == (device, reason), case


@pytest.mark.parametrize(
    ("case", "facts", "candidates", "error", "words"),
    [
        ("only elsewhere", alone(remote=False), (box(),), NotAllowed,
         "this request is kept on this machine by X-Remote-Allowed, and box is another server"),
        ("named", facts(remote=False, target="box"), (cpu(), box()), NotAllowed, "box is another server"),
        ("named and strict", facts(remote=False, target="box", strict=True), (cpu(), box()), NotAllowed,
         "box"),
        ("too long for what is here", facts(9000, remote=False), (cpu(), box()), ContextLengthExceeded,
         "4096"),
        ("what is here crashed", facts(remote=False), (cpu(breaker_s=4), box()), BreakerOpen,
         "crashed repeatedly"),
        ("the key names what is elsewhere", facts(remote=False, allowed=("box",)), (cpu(), box()),
         NotAllowed, "API key"),
        ("the key forbids it", alone(allowed=("CPU",)), (box(),), NotAllowed,
         "this API key does not allow box"),
        ("it is away", alone(), (box(available=False, fault="cannot be reached"),), DeviceUnavailable,
         "no server can answer now: box: cannot be reached"),
        ("it fails", alone(), (box(breaker_s=4),), BreakerOpen, "box failed repeatedly"),
        ("it cannot", alone(), (box(incapable="takes no images"),), CapabilityMissing, "box takes no images"),
        ("strict, and away", facts(target="box", strict=True), (cpu(), box(available=False, fault="is away")),
         DeviceUnavailable, "box cannot answer now: is away"),
    ],
)  # fmt: skip
def test_who_is_refused(
    case: str, facts: Facts, candidates: tuple[Candidate, ...], error: type[InferenceError], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        choose(facts, candidates)


def test_a_name_of_a_backend_is_a_target_as_it_is_spelled() -> None:
    assert target("box", ("CPU", "box")) == "box"
    with pytest.raises(BadRequest, match="unknown device or backend 'bax'; known here: CPU, box"):
        target("bax", ("CPU", "box"))


@pytest.mark.parametrize(
    "stored", ["Auto", "Balanced", "Performance", "Efficiency", "Quiet", "UltraEfficiency"]
)
@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"latency_critical": True},
        {"power_efficient": True},
        {"max_watts": 0.5},
        {"max_latency_s": 0.01},
        {"target": "CPU"},
    ],
)
def test_no_other_rule_lets_a_request_leave_that_stays_here(stored: str, wish: dict[str, Any]) -> None:
    busy = (npu(wait_s=90), cpu(wait_s=99, load_s=99, ready=False), box(), box(device="other", kind="npu"))
    plan = choose(facts(remote=False, stored_mode=stored, **wish), busy)
    assert {choice.device for choice in plan.choices} <= {"NPU", "CPU"}
    assert set(plan.costs) <= {"NPU", "CPU"}
