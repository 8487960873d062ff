"""A libnvidia-ml.so.1 built here, for machines without NVIDIA's driver: it answers what a file says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from machines import Machine

SOURCE = Path(__file__).with_name("fake_nvml.c")
COMPILER = shutil.which("cc")
ADDRESS = "0000:01:00.0"
CARD = f"/sys/bus/pci/drivers/nvidia/{ADDRESS}"
RESTING = {
    "count": 1,
    "temperature": 41,
    "slowdown": 90,
    "power_mw": 21_500,
    "energy_mj": 5_000_000,
    "clock": 210,
    "fan": 30,
    "reasons": 1,
    "load": 0,
    "memory": 1_000_000_000,
}


def build(folder: Path) -> Path:
    """The library; needs COMPILER. What it says stands in `folder`/facts."""
    library = folder / "libnvidia-ml.so.1"
    say(folder, **RESTING)
    subprocess.run(
        [COMPILER or "cc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}",
         f'-DFACTS="{folder / "facts"}"', "-o", library, SOURCE],
        check=True,
    )  # fmt: skip
    return library


def say(folder: Path, **facts: int | None) -> None:
    """None: that reading is an error."""
    text = "".join(f"{name} {value}\n" for name, value in facts.items() if value is not None)
    fresh = folder / "facts.new"
    fresh.write_text(text, "utf-8")
    fresh.replace(folder / "facts")


def install(machine: Machine) -> None:
    """The driver as the kernel shows it, with one card."""
    machine.set("/sys/module/nvidia/version", "580.126")
    machine.fill(CARD, {"power": {"runtime_status": "active", "control": "on"}})
