"""What the kernel shows of accelerators: device files and the right to open them, drivers, firmware, sensors.

All paths lie below a root, so that a made tree of files can stand for any machine. Linux alone: elsewhere the runtime's
own list of devices says all there is to say.
"""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from inference.telemetry.readings import Readings
from npuproxy.doctor.finding import Finding, fault, ok, warning

INTEL: Final = "0x8086"
NPU_CLASS: Final = "0x120000"
"""PCI: a processing accelerator."""
DISPLAY_CLASS: Final = "0x03"
NPU_DRIVER: Final = "intel_vpu"
_RUNTIME_LIBRARIES: Final = (
    "usr/lib/*/libze_intel_npu.so*",
    "usr/lib64/libze_intel_npu.so*",
    "usr/lib/libze_intel_npu.so*",
)
_LOADER_LIBRARIES: Final = (
    "usr/lib/*/libze_loader.so*",
    "usr/lib64/libze_loader.so*",
    "usr/lib/libze_loader.so*",
)
_COMPILER_LIBRARIES: Final = (
    "usr/lib/*/libnpu_driver_compiler.so*",
    "usr/lib64/libnpu_driver_compiler.so*",
    "usr/lib/libnpu_driver_compiler.so*",
)
_OPENCL: Final = ("etc/OpenCL/vendors/*intel*.icd", "usr/share/OpenCL/vendors/*intel*.icd")
_FIRMWARE: Final = "lib/firmware/intel/vpu/*"
_INSTALL_NPU: Final = (
    "install intel-level-zero-npu and level-zero: github.com/intel/linux-npu-driver/releases"
)

_INSTALL_COMPILER: Final = "install intel-driver-compiler-npu: github.com/intel/linux-npu-driver/releases"


class User:
    """Who runs the server: what its rights are judged by."""

    def __init__(self, uid: int, groups: Iterable[int]) -> None:
        self.uid = uid
        self.groups = frozenset(groups)

    def may_use(self, path: Path) -> bool:
        """Read and write, by owner, group and mode. Raises OSError."""
        found = path.stat()
        if self.uid == 0:
            return True
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 0
        return stat.S_IMODE(found.st_mode) >> shift & 0o6 == 0o6


def this_user() -> User:
    return User(os.geteuid(), {*os.getgroups(), os.getegid()})


def npu(root: Path, user: User, emulated: bool = False) -> Iterator[Finding]:
    """From the chip up: PCI, driver, firmware, device file, libraries, compiler. `emulated`: one answers anyway."""
    chips = _chips(root, NPU_CLASS)
    nodes = sorted(root.glob("dev/accel/accel*"))
    if not chips and not nodes:
        yield from (
            _no_npu(root)
            if not emulated
            else (ok("no NPU is seen; it is emulated on the CPU, which does its work"),)
        )
        return
    if chips and not nodes:
        yield from _no_driver(root)
        return
    for node in nodes:
        yield _rights(node, user)
    yield _firmware(root)
    yield _library(root, _RUNTIME_LIBRARIES, "the NPU's library (libze_intel_npu.so)", _INSTALL_NPU)
    yield _library(root, _LOADER_LIBRARIES, "the Level Zero loader (libze_loader.so)", _INSTALL_NPU)
    yield _library(
        root, _COMPILER_LIBRARIES, "the NPU's compiler (libnpu_driver_compiler.so)", _INSTALL_COMPILER
    )


def _firmware(root: Path) -> Finding:
    """Of all NPUs, as files; which version runs, the kernel says once, when it starts it."""
    names = sorted(path.name for path in root.glob(_FIRMWARE) if not path.is_dir())
    if names:
        return ok(
            f"firmware is installed: {', '.join(names)}; `sudo dmesg | grep {NPU_DRIVER}` names what runs"
        )
    return warning(
        "no firmware of an NPU in /lib/firmware/intel/vpu; it may lie inside the kernel's image",
        "sudo apt install linux-firmware   (or intel-fw-npu of the driver's releases)",
    )


def gpu(root: Path, user: User) -> Iterator[Finding]:
    chips = _chips(root, DISPLAY_CLASS)
    if not chips:
        yield ok("no Intel GPU on this machine")
        return
    nodes = sorted(root.glob("dev/dri/renderD*"))
    if not nodes:
        yield fault(
            "an Intel GPU, and no /dev/dri/renderD* to reach it by",
            "sudo modprobe i915 || sudo modprobe xe   (in a container: --device /dev/dri)",
        )
        return
    for node in nodes:
        yield _rights(node, user)
    yield _library(root, _OPENCL, "Intel's OpenCL driver", "sudo apt install intel-opencl-icd")


def sensors(readings: Readings) -> Iterator[Finding]:
    """What the sampler could not read, in its words."""
    for note in readings.notes:
        yield warning(note.what, note.remedy) if note.remedy else ok(note.what)
    if not readings.notes:
        yield ok("power, heat and load can be read")


def _chips(root: Path, wanted: str) -> list[Path]:
    """PCI devices of Intel's whose class begins so."""
    return [
        folder
        for folder in sorted(root.glob("sys/bus/pci/devices/*"))
        if _text(folder / "vendor") == INTEL and _text(folder / "class").startswith(wanted)
    ]


def _no_npu(root: Path) -> Iterator[Finding]:
    if is_wsl(root):
        yield warning(
            "WSL2 shows Linux no NPU", "run npuproxy on Windows; programs in here reach it over the network"
        )
    elif in_container(root):
        yield warning(
            "no NPU is seen from inside this container",
            "run npuproxy on the host, or start the container with --device /dev/accel/accel0 --group-add render",
        )
    else:
        yield ok(
            "no NPU on this machine; the CPU answers, and NPU_PROXY_NPU_EMULATION=true shows the NPU's ways"
        )


def _no_driver(root: Path) -> Iterator[Finding]:
    if (root / "sys/module" / NPU_DRIVER).is_dir():
        yield fault(
            f"an NPU whose driver {NPU_DRIVER} is loaded but gives no /dev/accel/accel0",
            f"sudo dmesg | grep {NPU_DRIVER}   # most often: firmware is missing: sudo apt install linux-firmware",
        )
    else:
        yield fault(
            f"an NPU without its driver {NPU_DRIVER}",
            f"sudo modprobe {NPU_DRIVER}   # Linux 6.6 or newer has it",
        )


def _rights(node: Path, user: User) -> Finding:
    shown = "/" + "/".join(node.parts[-3:])
    if user.may_use(node):
        return ok(f"{shown} may be used")
    found = node.stat()
    if stat.S_IMODE(found.st_mode) & 0o060 != 0o060:
        return fault(
            f"{shown} is for its owner alone (mode {stat.S_IMODE(found.st_mode):o})",
            f"sudo chgrp render {shown} && sudo chmod 660 {shown}",
        )
    group = _group(found.st_gid)
    return fault(
        f"{shown} is for the group {group}, and this user is not in it",
        f"sudo usermod -aG {group} $USER   # then log in again",
    )


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _library(root: Path, patterns: tuple[str, ...], what: str, remedy: str) -> Finding:
    if any(any(root.glob(pattern)) for pattern in patterns):
        return ok(f"{what} is installed")
    return fault(f"{what} is not installed", remedy)


def is_wsl(root: Path) -> bool:
    return "microsoft" in _text(root / "proc/version").lower()


def in_container(root: Path) -> bool:
    return (root / ".dockerenv").exists() or (root / "run/.containerenv").exists()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
