"""Which sources this machine has: searched at the start, and again when devices came or went."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from inference.telemetry import intel_gpu, nvidia
from inference.telemetry.counters import Kept
from inference.telemetry.fans import Fans
from inference.telemetry.npu import Npus
from inference.telemetry.package_energy import PackageEnergy
from inference.telemetry.processor import Processor
from inference.telemetry.readings import Part
from inference.telemetry.supplies import PowerSupplies, SystemBattery
from inference.telemetry.sysfs import Files

_CLASSES = ("accel", "drm", "hwmon", "power_supply", "powercap", "thermal")


class Source(Protocol):
    """A few files, or a library. `read` is called by one thread at a time, never on the event loop."""

    key: str

    def read(self, now: float) -> Part: ...


def has_sysfs(root: Path) -> bool:
    """A root of a test's own counts on every system."""
    return sys.platform == "linux" or root != Path("/")


def search(root: Path, kept: Kept) -> tuple[Source, ...]:
    """In the order in which they fill each other's gaps. Each has `Files` of its own, since one may hang alone."""
    if not has_sysfs(root):
        return (SystemBattery(), kept.of("NVIDIA", lambda: nvidia.Nvidia(Files(root))))
    found: list[Source] = [
        PowerSupplies(Files(root)),
        Processor(Files(root), kept),
        Fans(Files(root), kept),
        PackageEnergy(Files(root), kept),
        Npus(Files(root), kept),
    ]
    found += [intel_gpu.IntelGpu(Files(root), kept, card) for card in intel_gpu.cards(Files(root))]
    if nvidia.driver_shows(Files(root)):
        found.append(kept.of("NVIDIA", lambda: nvidia.Nvidia(Files(root))))
    return tuple(found)


def present(files: Files) -> tuple[tuple[str, ...], ...]:
    """What the kernel lists now: when it differs from before, it is time for a search. Some 50 microseconds."""
    return tuple(tuple(files.entries(f"/sys/class/{name}")) for name in _CLASSES)
