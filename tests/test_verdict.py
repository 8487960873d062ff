"""Does a model suit a device? A table of sizes, precisions, kinds and machines."""

from __future__ import annotations

import pytest

from registry import catalog, names, verdict
from registry.verdict import Level, Machine

GB = 1_000_000_000
LAPTOP = Machine(ram_bytes=16 * GB, budget_bytes=round(9.6 * GB))
BIG = Machine(ram_bytes=64 * GB, budget_bytes=round(38.4 * GB))

TABLE: list[tuple[float, str, str, str, Machine, Level, str]] = [
    # weights in GB, kind, precision, device, machine, verdict, a word of the reason
    (0.64, "chat", "int4", "NPU", LAPTOP, "fits", "asymmetric"),
    (2.0, "chat", "int4-cw", "NPU", LAPTOP, "fits", "2.7 GB with its context"),
    (4.7, "chat", "int4-cw", "NPU", LAPTOP, "may_exceed_memory", "4.7 GB"),
    (4.7, "chat", "int4-cw", "NPU", BIG, "may_exceed_memory", "2 to 4 GB"),
    (6.5, "chat", "int4-cw", "NPU", BIG, "not_suited", "6.5 GB of weights"),
    (2.2, "chat", "fp16", "NPU", BIG, "not_suited", "fp16"),
    (2.2, "chat", "FP16", "NPU", BIG, "not_suited", "four bits"),
    (1.1, "chat", "int8", "NPU", BIG, "fits", "half the speed"),
    (1.1, "chat", "INT8", "NPU", BIG, "fits", "half the speed"),
    (2.0, "chat", "nf4", "NPU", BIG, "fits", "Lunar Lake"),
    (2.0, "chat", "int4-cw", "NPU", Machine(4 * GB, 2 * GB), "may_exceed_memory", "2.0 GB"),
    (2.9, "chat", "int4-cw", "NPU", Machine(3 * GB, 2 * GB), "not_suited", "this machine has 3.0 GB"),
    (0.13, "embedding", "fp16", "NPU", LAPTOP, "fits", "0.3 GB"),
    (4.9, "chat", "int4", "GPU", LAPTOP, "fits", "5.9 GB"),
    (4.9, "chat", "int4", "gpu.1", LAPTOP, "fits", ""),
    (8.3, "chat", "int8", "GPU", LAPTOP, "may_exceed_memory", "8.0 GB of this machine's RAM"),
    (16.4, "chat", "int4", "GPU", LAPTOP, "not_suited", "take a smaller model"),
    (16.4, "chat", "int4", "GPU", BIG, "fits", ""),
    (4.9, "chat", "int4", "GPU", Machine(64 * GB, 4 * GB), "may_exceed_memory", ""),
    (8.0, "chat", "int4", "CPU", LAPTOP, "fits", "9.3 GB"),
    (9.0, "chat", "int4", "CPU", LAPTOP, "may_exceed_memory", "NPU_PROXY_MEMORY_BUDGET"),
    (15.0, "chat", "int8", "CPU", LAPTOP, "not_suited", "needs some 17.0 GB, this machine has 16.0 GB"),
    (2.2, "embedding", "", "CPU", LAPTOP, "fits", ""),
    (0.3, "rerank", "int8", "CPU", BIG, "not_suited", "no rerankers"),
    (3.3, "vision", "int4", "GPU", LAPTOP, "fits", "4.1 GB"),
    (3.3, "vision", "int4", "CPU", LAPTOP, "fits", "4.1 GB"),
    (3.3, "vision", "int4", "NPU", BIG, "not_suited", "images"),
]


@pytest.mark.parametrize(("gb", "kind", "precision", "device", "machine", "level", "reason"), TABLE)
def test_a_model_suits_a_device(
    gb: float, kind: str, precision: str, device: str, machine: Machine, level: Level, reason: str
) -> None:
    found = verdict.of(round(gb * GB), kind, precision, device, machine)
    assert found.level == level
    assert reason in found.reason
    assert not found.reason.endswith(".")


@pytest.mark.parametrize("device", verdict.DEVICES)
def test_a_larger_model_is_never_better_off(device: str) -> None:
    order: list[Level] = ["fits", "may_exceed_memory", "not_suited"]
    for kind, precision in (("chat", "int4-cw"), ("embedding", "int8")):
        levels = [
            order.index(verdict.of(size * GB // 10, kind, precision, device, LAPTOP).level)
            for size in range(1, 200)
        ]
        assert levels == sorted(levels)
        assert set(levels) == {0, 1, 2}


def test_the_machine_is_this_one_unless_another_is_named() -> None:
    here = verdict.this_machine()
    assert here.budget_bytes > 0
    assert here.ram_bytes > 0
    assert verdict.of(10**9, "chat", "int4", "CPU") == verdict.of(10**9, "chat", "int4", "CPU", here)


@pytest.mark.parametrize(
    ("name", "on_npu"),
    [
        # as NPU Proxy's compatibility table has them
        ("tinyllama", "fits"),
        ("phi-2", "fits"),
        ("granite-4-micro", "fits"),
        ("bge-small", "fits"),
        ("bge-base", "fits"),
        ("all-minilm", "fits"),
        ("mistral", "may_exceed_memory"),
        ("llama2", "may_exceed_memory"),
    ],
)
def test_what_is_known_to_run_on_an_npu_is_said_to(name: str, on_npu: Level) -> None:
    entry = names.refer(name).entry
    assert entry is not None
    assert verdict.of_entry(entry, "NPU", LAPTOP)[1].level == on_npu
    for device in ("GPU", "CPU"):
        assert verdict.of_entry(entry, device, LAPTOP)[1].level == "fits"


def test_a_verdict_speaks_of_the_build_that_the_device_would_get() -> None:
    entry = names.refer("qwen3:8b").entry
    assert entry is not None
    builds = [verdict.of_entry(entry, device, BIG)[0] for device in verdict.DEVICES]
    assert [build and build.precision for build in builds] == [
        "int4-cw",
        "int4",
        "int4",
    ]


def test_every_entry_has_a_verdict_on_every_device() -> None:
    for entry in catalog.entries():
        for device in verdict.DEVICES:
            assert verdict.of_entry(entry, device, LAPTOP)[1].reason
