"""Every model's files, and whether it suits the devices of this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from inference import integrity
from npuproxy.doctor.finding import Finding, fault, ok, warning
from registry import store, verdict
from registry.model_info import ModelInfo

READ_BYTES: Final = 2 * 10**9
"""Models above it are hashed only where somebody asks for all: some seconds each."""


def files(everything: bool = False, say: Callable[[str], None] = lambda words: None) -> Iterator[Finding]:
    """Sizes of all files, and the digests of those of small models. `say` is told what takes time."""
    models = store.all_models()
    if not models:
        yield fault("no model is installed", "manage.py pullmodel qwen3:0.6b   # `demo` comes with a start")
    for info in models:
        yield _files_of(info, everything, say)


def _files_of(info: ModelInfo, everything: bool, say: Callable[[str], None]) -> Finding:
    spec = info.spec
    reads = everything or spec.size_bytes <= READ_BYTES
    if reads:
        say(f"reading {info.name}")
    faults = []
    for name, (size, digest) in spec.files.items():
        why = (
            integrity.fault_of(spec.path / name, size, digest)
            if reads
            else _size_fault(spec.path / name, size)
        )
        if why:
            faults.append(f"{name} {why}")
    if faults:
        again = "clone the program again" if info.builtin else f"manage.py pullmodel {info.name}"
        return fault(f"{info.name}: {'; '.join(faults[:3])}", again)
    seen = (
        "every byte is as it was installed" if reads else "sizes are right; `doctor --all` reads every byte"
    )
    return ok(f"{info.name}: {seen}")


def _size_fault(path: Path, size: int) -> str:
    try:
        found = path.stat().st_size
    except OSError:
        return "is missing or cannot be read"
    return "" if found == size else f"has {found} bytes instead of {size}"


def fit(devices: Collection[str]) -> Iterator[Finding]:
    """`devices`: the classes that this machine has: NPU, GPU, CPU."""
    machine = verdict.this_machine()
    for info in store.all_models():
        spec = info.spec
        for device in devices:
            found = verdict.of(spec.size_bytes, spec.kind, info.quantization_level, device, machine)
            if found.level == "not_suited":
                yield warning(
                    f"{info.name} does not suit {device}: {found.reason}", _better(info.name, device)
                )
            elif found.level == "may_exceed_memory":
                yield warning(
                    f"{info.name} may not fit on {device}: {found.reason}",
                    "NPU_PROXY_MEMORY_BUDGET=80%, or a smaller one: manage.py models known",
                )
            else:
                yield ok(f"{info.name} suits {device}: {found.reason}")


def _better(name: str, device: str) -> str:
    return f"manage.py pullmodel {name} --device {device}   # a build for it, where there is one"
