"""Several devices of a class: the chain names a class, and each of its devices has its place."""

from __future__ import annotations

import pytest

from inference.device_names import expanded, kind_of, target
from inference.modes import QUIET
from inference.route_facts import Candidate, Facts
from inference.routing import choose
from inference.scoring import Readings

CHAIN = ("NPU", "GPU", "CPU")


@pytest.mark.parametrize(
    ("order", "there", "wanted"),
    [
        (CHAIN, ("CPU",), ("NPU", "GPU", "CPU")),
        (CHAIN, ("CPU", "NPU"), ("NPU", "GPU", "CPU")),
        (CHAIN, ("CPU", "NPU.0", "NPU.1"), ("NPU.0", "NPU.1", "GPU", "CPU")),
        (CHAIN, ("CPU", "GPU.0", "GPU.1", "NPU"), ("NPU", "GPU.0", "GPU.1", "CPU")),
        (("NPU.1", *CHAIN), ("CPU", "NPU.0", "NPU.1"), ("NPU.1", "NPU.0", "GPU", "CPU")),
        (("GPU.1", "CPU"), ("CPU", "GPU.0", "GPU.1"), ("GPU.1", "CPU")),
    ],
)
def test_the_name_of_a_class_stands_for_all_its_devices(
    order: tuple[str, ...], there: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    assert expanded(order, there) == wanted


def two_npus(**first: object) -> tuple[Candidate, ...]:
    npu = {"kind": "npu", "limit_tokens": 1801}
    return (
        Candidate(device="CPU", limit_tokens=4096),
        Candidate(device="NPU.0", **{**npu, **first}),  # type: ignore[arg-type]
        Candidate(device="NPU.1", kind="npu", limit_tokens=1801),
    )


@pytest.mark.parametrize(
    ("case", "first", "wanted"),
    [
        ("the first, when it is free", {}, ("NPU.0", "within_npu_limit")),
        ("the second, when the first is busy", {"wait_s": 9.0}, ("NPU.1", "busy")),
        ("the second, when the first has gone", {"available": False}, ("NPU.1", "device_unavailable")),
        ("the second, when the first throttles", {"readings": Readings(throttling=True)}, ("NPU.1", "thermal")),
        ("the second, when the first crashed", {"breaker_s": 5.0}, ("NPU.1", "crashed")),
    ],
)  # fmt: skip
def test_the_second_npu_answers_before_the_cpu(
    case: str, first: dict[str, object], wanted: tuple[str, str]
) -> None:
    devices = two_npus(**first)
    order = expanded(CHAIN, tuple(device.device for device in devices))
    choice = choose(Facts(prompt_tokens=20, preferred=order), devices).choices[0]
    assert (choice.device, choice.reason) == wanted, case


def test_a_prompt_over_the_limit_of_every_npu_goes_to_the_cpu() -> None:
    devices = two_npus()
    order = expanded(CHAIN, tuple(device.device for device in devices))
    choice = choose(Facts(prompt_tokens=1801, preferred=order), devices).choices[0]
    assert (choice.device, choice.reason) == ("CPU", "prompt_exceeds_npu_limit")


def test_a_class_means_a_device_that_is_there_before_one_that_went() -> None:
    """A second card changes the names: what was GPU is GPU.0 then."""
    known = ("CPU", "GPU", "GPU.0", "GPU.1")
    assert target("gpu", known, ("CPU", "GPU.0", "GPU.1")) == "GPU.0"
    assert target("gpu", known, ("CPU",)) == "GPU"
    assert target("gpu", known, known) == "GPU"


def test_what_somebody_elses_plugin_names_counts_as_a_processor() -> None:
    assert [kind_of(name, "") for name in ("NPU.1", "GPU.0", "CPU", "TEMPLATE")] == [
        "npu",
        "igpu",
        "cpu",
        "cpu",
    ]


def test_where_every_device_exceeds_a_limit_alike_the_one_with_the_least_power_answers() -> None:
    """They share the package's fans: an NPU of 3 W before a CPU of 28."""
    loud = Readings(fan_percent=90)
    devices = (
        Candidate(device="CPU", limit_tokens=4096, readings=loud),
        Candidate(device="NPU", kind="npu", limit_tokens=1801, readings=loud),
    )
    choice = choose(Facts(prompt_tokens=20, preferred=("CPU", "NPU"), mode=QUIET), devices).choices[0]
    assert (choice.device, choice.reason) == ("NPU", "limit_relaxed")
