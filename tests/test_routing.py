"""The choice of a device, as a table: no server, no device."""

from typing import Any

import pytest

from inference.device_names import chain, resolve_device, target
from inference.errors import BadRequest, BreakerOpen, ContextLengthExceeded, DeviceUnavailable, NotAllowed
from inference.route_facts import Candidate, Choice, Facts
from inference.routing import choose


def cpu(**changes: Any) -> Candidate:
    return Candidate(**{"device": "CPU", "limit_tokens": 4096, **changes})


def npu(**changes: Any) -> Candidate:
    return Candidate(**{"device": "NPU", "limit_tokens": 1801, **changes})


def gpu(**changes: Any) -> Candidate:
    return Candidate(**{"device": "GPU", "limit_tokens": 4096, **changes})


def facts(tokens: int = 100, **changes: Any) -> Facts:
    return Facts(**{"prompt_tokens": tokens, "preferred": chain("NPU", ""), **changes})


@pytest.mark.parametrize(
    ("case", "facts", "candidates", "device", "reason", "fallback", "background"),
    [
        ("a short prompt stays on the NPU", facts(), (npu(), cpu()), "NPU", "within_npu_limit", "", ""),
        ("no NPU here", facts(), (cpu(),), "CPU", "device_unavailable", "device_unavailable", ""),
        ("no NPU, but a GPU", facts(), (gpu(), cpu()), "GPU", "device_unavailable", "device_unavailable", ""),
        (
            "a prompt over the NPU's limit",
            facts(1801), (npu(), cpu()), "CPU", "prompt_exceeds_npu_limit", "prompt_exceeds_npu_limit", "",
        ),
        ("exactly at the limit", facts(1800), (npu(), cpu()), "NPU", "within_npu_limit", "", ""),
        (
            "a cold NPU: the CPU answers while it loads",
            facts(), (npu(ready=False, load_s=120), cpu(ready=False, load_s=0.1)),
            "CPU", "compiling", "compiling", "NPU",
        ),
        (
            "two copies do not fit: the NPU is not loaded beside the CPU's",
            facts(), (npu(ready=False, load_s=120, fits_memory=False), cpu()), "CPU", "compiling", "compiling", "",
        ),
        (
            "log probabilities, which the NPU's pipeline does not give",
            facts(logprobs=True), (npu(logprobs=False, ready=False, load_s=9), cpu()),
            "CPU", "capability", "capability", "",
        ),
        (
            "log probabilities on the NPU, if need be elsewhere",
            facts(logprobs=True, target="NPU"), (npu(logprobs=False), cpu()),
            "CPU", "target_unavailable", "capability", "",
        ),
        ("a busy NPU", facts(), (npu(wait_s=5), cpu()), "CPU", "busy", "busy", ""),
        ("all busy: the least wait", facts(), (npu(wait_s=5), cpu(wait_s=9)), "NPU", "within_npu_limit", "", ""),
        ("an open breaker", facts(), (npu(breaker_s=3), cpu()), "CPU", "crashed", "crashed", ""),
        ("a load that failed", facts(), (npu(load_failed="no"), cpu()), "CPU", "load_failed", "load_failed", ""),
        ("the caller's device", facts(target="CPU"), (npu(), cpu()), "CPU", "target", "", ""),
        ("the caller's cold device", facts(target="NPU"), (npu(ready=False, load_s=9), cpu()), "NPU", "target", "", ""),
        (
            "the caller's device is absent",
            facts(target="GPU"), (npu(), cpu()), "NPU", "target_unavailable", "device_unavailable", "",
        ),
        ("a key for the CPU alone", facts(allowed=("CPU",)), (npu(), gpu(), cpu()), "CPU", "preferred", "", ""),
        (
            "a key for the second GPU, which is in no chain",
            facts(allowed=("GPU.1",)), (npu(), gpu(device="GPU.0"), gpu(device="GPU.1")), "GPU.1", "preferred", "", "",
        ),
        (
            "a key for every GPU",
            facts(allowed=("GPU",), preferred=("NPU", "GPU.0", "CPU")), (npu(), gpu(device="GPU.0")),
            "GPU.0", "preferred", "", "",
        ),
        ("a key for the first GPU", facts(allowed=("GPU.0",)), (npu(), gpu(), cpu()), "GPU", "preferred", "", ""),
        (
            "a key for others does not load the NPU in the background",
            facts(allowed=("GPU", "CPU")), (npu(ready=False, load_s=120), cpu()),
            "CPU", "device_unavailable", "device_unavailable", "",
        ),
        ("CPU preferred", facts(preferred=chain("CPU", "")), (npu(), cpu()), "CPU", "preferred", "", ""),
        (
            "the only device failed to load: tried again",
            facts(preferred=chain("CPU", "")), (cpu(load_failed="no"),), "CPU", "preferred", "", "",
        ),
    ],
)  # fmt: skip
def test_the_device_that_answers(
    case: str,
    facts: Facts,
    candidates: tuple[Candidate, ...],
    device: str,
    reason: str,
    fallback: str,
    background: str,
) -> None:
    plan = choose(facts, candidates)
    assert plan.choices[0] == Choice(device=device, reason=reason, fallback_reason=fallback), case
    assert plan.load_in_background == background, case


def test_every_usable_device_stays_in_the_list_for_a_second_try() -> None:
    plan = choose(facts(), (npu(), gpu(breaker_s=1), cpu()))
    assert [choice.device for choice in plan.choices] == ["NPU", "CPU"]


def test_a_prompt_that_fits_nowhere_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        choose(facts(5000), (npu(), cpu()))
    assert (caught.value.prompt_tokens, caught.value.limit) == (5000, 4096)


def test_an_open_breaker_on_the_last_device_says_when_to_come_back() -> None:
    with pytest.raises(BreakerOpen) as caught:
        choose(facts(), (cpu(breaker_s=7),))
    assert caught.value.retry_after_s == 7


def test_a_strict_target_is_refused_instead_of_replaced() -> None:
    with pytest.raises(DeviceUnavailable):
        choose(facts(target="NPU", strict=True), (cpu(),))
    with pytest.raises(ContextLengthExceeded):  # waiting would not help
        choose(facts(1801, target="NPU", strict=True), (npu(), cpu()))
    assert [c.device for c in choose(facts(target="CPU", strict=True), (npu(), cpu())).choices] == ["CPU"]


def test_log_probabilities_where_no_device_gives_them_are_refused_with_the_reason() -> None:
    devices = (npu(logprobs=False), cpu(breaker_s=3))
    words = r'^"logprobs": the pipeline of NPU gives no log probabilities'
    with pytest.raises(BadRequest, match=words):
        choose(facts(logprobs=True, target="NPU", strict=True), devices)
    with pytest.raises(BadRequest, match=words):
        choose(facts(logprobs=True, allowed=("NPU",)), devices)
    with pytest.raises(BreakerOpen):
        choose(facts(logprobs=True), devices)


def test_the_operators_fallback_is_the_second_link() -> None:
    assert chain("NPU", "CPU") == ("NPU", "CPU", "GPU")
    assert chain("AUTO", "") == ("NPU", "GPU", "CPU")
    assert chain("GPU.1", "") == ("GPU.1", "NPU", "GPU", "CPU")


def test_a_class_name_means_the_first_device_of_its_kind() -> None:
    assert resolve_device("GPU", ("CPU", "GPU.0", "GPU.1")) == "GPU.0"
    assert target("gpu.1", ("CPU", "GPU.0", "GPU.1")) == "GPU.1"
    assert target("", ("CPU",)) == ""


def test_a_device_name_that_cannot_exist_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="unknown device or backend 'FOO'; known here: CPU"):
        target("FOO", ("CPU",))


@pytest.mark.parametrize(
    "given",
    [
        facts(allowed=("NPU",), target="CPU"),
        facts(allowed=("NPU",), preferred=("CPU",)),
        facts(allowed=("GPU.1",)),
    ],
)
def test_what_a_key_does_not_allow_is_never_tried(given: Facts) -> None:
    """Not for want of another device, and not because the caller names it."""
    with pytest.raises(NotAllowed, match=f"it allows {given.allowed[0]}"):
        choose(given, (cpu(),))


def test_devices_that_the_key_allows_and_that_are_not_here_are_named() -> None:
    with pytest.raises(
        DeviceUnavailable, match=r"no inference device of those that this API key allows \(GPU\)"
    ):
        choose(facts(allowed=("GPU",)), (cpu(),))


def test_a_prompt_that_fits_only_where_the_key_does_not_allow_is_too_long() -> None:
    with pytest.raises(ContextLengthExceeded, match="holds 1801"):
        choose(facts(3000, allowed=("NPU",)), (npu(), cpu()))
