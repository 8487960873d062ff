"""OpenVINO as this program would start it: versions that must match, and the devices that it sees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import httpx
import msgspec
from django.conf import settings

from inference.worker.messages import Hello
from npuproxy import running_server
from npuproxy.doctor.finding import Finding, fault, ok, warning

START_S: Final = 60.0
PACKAGES: Final = ("openvino", "openvino-genai", "openvino-tokenizers")
_ROOT: Final = Path(__file__).resolve().parents[2]
_REINSTALL: Final = "make run   # installs what requirements.txt says"


def versions(found: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """`found`: package -> version; of this environment unless given. A release is year.number.patch of all three."""
    found = installed() if found is None else found
    if missing := [name for name in PACKAGES if name not in found]:
        yield fault(f"not installed: {', '.join(missing)}", _REINSTALL)
        return
    releases = {".".join(found[name].split(".")[:3]) for name in PACKAGES}
    shown = ", ".join(f"{name} {found[name]}" for name in PACKAGES)
    if len(releases) > 1:
        yield fault(f"of different releases: {shown}", _REINSTALL)
    else:
        yield ok(shown)


def installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def devices(has_npu: bool = False, emulated: bool = False) -> Iterator[Finding]:
    """Asks a child process, as a server does: a driver that crashes takes nothing else with it.

    `has_npu`: the kernel shows one, so that the runtime should see it; `emulated`: a server would emulate one.
    """
    told = _ask()
    if isinstance(told, str):
        yield fault(f"the runtime does not start: {told}", _REINSTALL)
        return
    drivers, memory = dict(told.drivers), dict(told.memory)
    for name, full_name in told.devices:
        facts = [full_name, below(name, drivers.get(name, ""))]
        facts += [f"{memory[name] / 2**30:.1f} GB"] if name in memory else []
        yield ok(f"{name}: {', '.join(fact for fact in facts if fact)}")
    names = [name.partition(".")[0] for name, _ in told.devices]
    if has_npu and "NPU" not in names:
        yield fault(
            "the kernel shows an NPU and the runtime sees none: its library is missing or too old for this OpenVINO",
            "install the newest release of github.com/intel/linux-npu-driver, then run this again",
        )
    if emulated and "NPU" not in names:
        yield ok("NPU: emulated on the CPU (NPU_PROXY_NPU_EMULATION), which answers by that name")
        names.append("NPU")
    yield from _wished(names)


def below(device: str, version: str) -> str:
    """What the runtime tells of driver and compiler: of an NPU both, joined; '' where it tells nothing."""
    driver, _, compiler = version.rpartition("-") if device.startswith("NPU") else (version, "", "")
    if compiler.isdigit() and driver:  # the upper half of the number is the major version
        return f"driver {driver}, compiler {int(compiler) >> 16}.{int(compiler) & 0xFFFF}"
    return f"driver {version}" if version else ""


def emulates() -> bool:
    """The server that runs, or one that would be started here, has an NPU that is none."""
    server = running_server.find(Path(settings.DATA_DIR))
    if server is None:
        return bool(settings.ENGINE.npu_emulation)
    try:
        with server.client(running_server.HEARTBEAT_S) as client:
            return any(row["emulated"] for row in client.get("/health/devices").json()["devices"])
    except (httpx.HTTPError, OSError, ValueError, KeyError):
        return bool(settings.ENGINE.npu_emulation)


def _ask() -> Hello | str:
    """What it says, or why it does not."""
    command = [sys.executable, "-P", "-m", "inference.worker.describe"]
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            timeout=START_S,
        )
    except subprocess.TimeoutExpired:
        return f"no word within {START_S:g} s"
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        return f"exit status {done.returncode}: {words[-1][:300]}"
    return msgspec.json.decode(done.stdout, type=Hello)


def _wished(names: list[str]) -> Iterator[Finding]:
    """NPU_PROXY_DEVICE that is not there. The default is an NPU with all else behind it: no fault without one."""
    wish = settings.ENGINE.device.partition(".")[0]
    if wish not in ("AUTO", "NPU", *names):
        yield warning(
            f"NPU_PROXY_DEVICE is {settings.ENGINE.device}, which the runtime does not see; {names[0]} answers instead",
            f"NPU_PROXY_DEVICE={names[0]}, or mend the driver",
        )
