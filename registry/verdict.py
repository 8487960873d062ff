"""Does a model suit a device of this machine? Known before a byte is fetched: from size, precision and kind.

A rule of thumb with its reason, for people who choose a model; what really fits is decided at load
(`inference.memory`). Pure: the machine is a value.
"""

from __future__ import annotations

from typing import Final, Literal

import psutil
from django.conf import settings
from msgspec import Struct

from registry.catalog import NPU_PRECISIONS, Build, Entry

Level = Literal["fits", "may_exceed_memory", "not_suited"]

DEVICES: Final = ("NPU", "GPU", "CPU")
SERVED: Final = ("chat", "embedding", "vision")
"""Kinds that this version runs."""

CONTEXT_BYTES: Final = 500_000_000
"""Beside the weights of a language model: the runtime, and a KV cache for some thousand tokens."""
RUNTIME_BYTES: Final = 150_000_000
"""Beside the weights of an embedding model."""
WEIGHTS_FACTOR: Final = 1.1

NPU_SURE_BYTES: Final = 3_000_000_000
NPU_MOST_BYTES: Final = 6_000_000_000
"""Weights on an NPU: up to 4 billion parameters in four bits run everywhere, 7 and 8 billion on machines with
32 GB; more has not been seen to."""
GPU_SHARE: Final = 0.5
"""Of the RAM, what Intel's driver lends to an integrated GPU."""
BUDGET_SHARE: Final = 0.6
"""Of the RAM, all models together, where NPU_PROXY_MEMORY_BUDGET says nothing else."""

_KINDS: Final = {"rerank": "rerankers yet"}
_WIDE: Final = ("fp16", "fp32", "bf16", "f16", "f32")


class Machine(Struct, frozen=True):
    """What of a machine decides."""

    ram_bytes: int
    budget_bytes: int
    """NPU_PROXY_MEMORY_BUDGET."""


class Verdict(Struct, frozen=True):
    level: Level
    reason: str
    """One sentence that ends without a full stop; figures in 10^9 bytes."""


def this_machine() -> Machine:
    ram = int(psutil.virtual_memory().total)
    return Machine(ram, settings.ENGINE.memory_budget_bytes or int(ram * BUDGET_SHARE))


def of(size_bytes: int, kind: str, quantization: str, device: str, machine: Machine | None = None) -> Verdict:
    """Whether weights of that size and precision suit `device`, on this machine unless another is named.

    `quantization` is a precision of the catalogue or of a row ('INT4'); '' where it is not known.
    """
    if kind not in SERVED:
        return Verdict("not_suited", f"this version runs no {_KINDS.get(kind, kind)}")
    machine = machine or this_machine()
    needed = round(size_bytes * WEIGHTS_FACTOR) + (RUNTIME_BYTES if kind == "embedding" else CONTEXT_BYTES)
    name = device.upper()
    if name.startswith("NPU"):
        return _on_npu(size_bytes, needed, kind, quantization.lower(), machine)
    if name.startswith("GPU"):
        return _on_gpu(needed, machine)
    return _on_cpu(needed, machine)


def of_entry(entry: Entry, device: str, machine: Machine | None = None) -> tuple[Build | None, Verdict]:
    """The build that `device` would get of a catalogue entry, and what is to be said of it there."""
    build = entry.build_for(device)
    if build is None:
        return None, Verdict("fits", "it ships with the program")
    size, precision = entry.in_memory(build, device)
    return build, of(size, entry.kind, precision, device, machine)


def _on_npu(size_bytes: int, needed: int, kind: str, quantization: str, machine: Machine) -> Verdict:
    if kind == "vision":
        return Verdict("not_suited", "models that look at images run on a GPU and on the CPU alone")
    if kind == "chat" and quantization in _WIDE:
        return Verdict("not_suited", f"an NPU wants symmetric weights of four bits, these are {quantization}")
    if size_bytes > NPU_MOST_BYTES:
        return Verdict(
            "not_suited", f"{_gb(size_bytes)} of weights are more than an NPU has been seen to run"
        )
    if needed > machine.ram_bytes:
        return _beyond_ram(needed, machine)
    remark = _npu_remark(kind, quantization)
    if size_bytes > NPU_SURE_BYTES or needed > machine.ram_bytes * GPU_SHARE:
        return Verdict(
            "may_exceed_memory",
            f"an NPU uses 2 to 4 GB on small machines, the weights alone are {_gb(size_bytes)}{remark}",
        )
    return Verdict("fits", f"some {_gb(needed)} with its context{remark}")


def _npu_remark(kind: str, quantization: str) -> str:
    if kind != "chat" or quantization in NPU_PRECISIONS:
        return ""
    if quantization == "nf4":
        return "; nf4 needs the NPU of Lunar Lake or later"
    if quantization == "int8":
        return "; eight bits run at half the speed of four"
    return "; its weights may be asymmetric, which an NPU's compiler can refuse: then the next device answers"


def _on_gpu(needed: int, machine: Machine) -> Verdict:
    lent = round(machine.ram_bytes * GPU_SHARE)
    if needed <= min(lent, machine.budget_bytes):
        return Verdict("fits", f"some {_gb(needed)} with its context")
    if needed <= machine.ram_bytes:
        return Verdict(
            "may_exceed_memory",
            f"needs some {_gb(needed)}, an integrated GPU may use {_gb(lent)} of this machine's RAM; "
            "a card with memory of its own may do",
        )
    return _beyond_ram(needed, machine)


def _on_cpu(needed: int, machine: Machine) -> Verdict:
    if needed <= machine.budget_bytes:
        return Verdict("fits", f"some {_gb(needed)} with its context")
    if needed <= machine.ram_bytes:
        return Verdict(
            "may_exceed_memory",
            f"needs some {_gb(needed)}, models may use {_gb(machine.budget_bytes)} here; "
            "NPU_PROXY_MEMORY_BUDGET allows more",
        )
    return _beyond_ram(needed, machine)


def _beyond_ram(needed: int, machine: Machine) -> Verdict:
    return Verdict(
        "not_suited",
        f"needs some {_gb(needed)}, this machine has {_gb(machine.ram_bytes)}; take a smaller model",
    )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
