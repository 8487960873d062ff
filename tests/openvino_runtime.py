"""An OpenVINO of a test's own, whose only device comes and goes: the real runtime, with or without its CPU plugin.

A virtual environment beside the one that runs the tests, with everything of it but the package `openvino`: that is one
of links to the real files.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import openvino

LINKS = sys.platform == "linux"
_PLUGIN = "libopenvino_intel_cpu_plugin.so"


class Runtime:
    """`python` runs with it."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = str(folder / "bin" / "python")
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        real = Path(openvino.__file__).parent
        (packages / "all.pth").write_text(f"{real.parent}\n", "utf-8")
        libraries = packages / "openvino" / "libs"
        libraries.mkdir(parents=True)
        for file in real.iterdir():
            if file.name != "libs":
                (packages / "openvino" / file.name).symlink_to(file)
        for file in (real / "libs").iterdir():
            (libraries / file.name).symlink_to(file)
        self._real = real / "libs" / _PLUGIN
        self._plugin = libraries / _PLUGIN

    def plug(self) -> None:
        """From the next process on there is a CPU."""
        self._plugin.symlink_to(self._real)

    def unplug(self) -> None:
        """From the next process on there is none; those that have begun keep it."""
        self._plugin.unlink()
