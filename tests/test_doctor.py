"""`manage.py doctor`: machines as the kernel shows them, versions, folders, databases and networks, sick and well."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from admin_pages import Browser, engine_in_this_process
from conftest import RunningServer, environment
from machines import Machine, guest

from npuproxy.doctor import kernel, network, runtime
from npuproxy.doctor.finding import Finding, examine, ok

ROOT = Path(__file__).resolve().parent.parent
STRANGER = kernel.User(4711, {4711})
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="what Linux shows of devices")


def one(found: list[Finding], words: str) -> Finding:
    (match,) = [finding for finding in found if words in finding.words]
    return match


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With an NPU that the kernel's driver runs, and everything above it."""
    made = guest(tmp_path / "machine")
    made.set("/sys/bus/pci/devices/0000:00:0b.0/vendor", "0x8086")
    made.set("/sys/bus/pci/devices/0000:00:0b.0/class", "0x120000")
    made.set("/sys/module/intel_vpu/version", "1.0")
    made.set("/dev/accel/accel0", "")
    made.set("/lib/firmware/intel/vpu/vpu_37xx_v1.bin", "")
    made.set("/usr/lib/x86_64-linux-gnu/libze_intel_npu.so.1", "")
    made.set("/usr/lib/x86_64-linux-gnu/libze_loader.so.1", "")
    made.set("/usr/lib/x86_64-linux-gnu/libnpu_driver_compiler.so", "")
    made.path("/dev/accel/accel0").chmod(0o666)
    return made


def test_an_npu_with_all_that_it_needs_is_well(machine: Machine) -> None:
    found = list(kernel.npu(machine.root, STRANGER))
    assert [finding.level for finding in found] == ["ok"] * 5
    assert "vpu_37xx_v1.bin" in one(found, "firmware").words
    assert runtime.below("NPU", "32000123-524290") == "driver 32000123, compiler 8.2"
    assert runtime.below("GPU.0", "24.1-x") == "driver 24.1-x"


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("/usr/lib/x86_64-linux-gnu/libze_intel_npu.so.1", "linux-npu-driver/releases"),
        ("/usr/lib/x86_64-linux-gnu/libze_loader.so.1", "level-zero"),
        ("/usr/lib/x86_64-linux-gnu/libnpu_driver_compiler.so", "intel-driver-compiler-npu"),
        ("/lib/firmware/intel/vpu/vpu_37xx_v1.bin", "apt install linux-firmware"),
        ("/dev/accel/accel0", "dmesg | grep intel_vpu"),
    ],
)
def test_what_an_npu_lacks_is_named_with_the_line_that_brings_it(
    machine: Machine, path: str, remedy: str
) -> None:
    machine.path(path).unlink()
    (sick,) = [finding for finding in kernel.npu(machine.root, STRANGER) if finding.level != "ok"]
    assert remedy in sick.remedy


def test_an_npu_without_its_driver_is_a_fault(machine: Machine) -> None:
    machine.path("/dev/accel/accel0").unlink()
    shutil.rmtree(machine.path("/sys/module/intel_vpu"))
    (sick,) = kernel.npu(machine.root, STRANGER)
    assert (sick.level, "modprobe intel_vpu" in sick.remedy) == ("fault", True)


def test_the_right_to_open_a_device_goes_by_owner_group_and_mode(machine: Machine) -> None:
    node = machine.path("/dev/accel/accel0")
    node.chmod(0o660)
    group = node.stat().st_gid
    sick = one(list(kernel.npu(machine.root, STRANGER)), "is for the group")
    assert (sick.level, "usermod -aG" in sick.remedy) == ("fault", True)
    assert one(list(kernel.npu(machine.root, kernel.User(4711, {group}))), "may be used").level == "ok"
    node.chmod(0o600)
    assert "chgrp render" in one(list(kernel.npu(machine.root, STRANGER)), "owner alone").remedy


def test_a_machine_without_an_npu_says_where_one_is_to_be_had(machine: Machine, tmp_path: Path) -> None:
    bare = guest(tmp_path / "bare")
    (found,) = kernel.npu(bare.root, STRANGER)
    assert (found.level, "NPU_PROXY_NPU_EMULATION" in found.words) == ("ok", True)
    bare.set("/.dockerenv", "")
    assert "--device /dev/accel/accel0" in next(iter(kernel.npu(bare.root, STRANGER))).remedy
    bare.set("/proc/version", "Linux version 6.6.87.2-microsoft-standard-WSL2")
    assert "on Windows" in next(iter(kernel.npu(bare.root, STRANGER))).remedy
    (found,) = kernel.npu(bare.root, STRANGER, emulated=True)
    assert (found.level, "emulated" in found.words) == ("ok", True)


def test_releases_that_do_not_match_are_a_fault() -> None:
    same = {"openvino": "2026.4.1", "openvino-genai": "2026.4.1.0", "openvino-tokenizers": "2026.4.1.0"}
    assert [found.level for found in runtime.versions(same)] == ["ok"]
    (found,) = runtime.versions(same | {"openvino": "2026.3.0"})
    assert (found.level, "2026.3.0" in found.words) == ("fault", True)
    (found,) = runtime.versions({"openvino": "2026.4.1"})
    assert "openvino-genai, openvino-tokenizers" in found.words


def test_wsl_is_told_how_to_reach_windows(tmp_path: Path) -> None:
    made = guest(tmp_path / "machine")
    made.set("/proc/net/route", "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t01801BAC\t0003")
    assert network.gateway(made.root) == "172.27.128.1"
    assert network.client_line("172.27.128.1", 11435) == (
        "export OLLAMA_HOST=http://172.27.128.1:11435 OPENAI_BASE_URL=http://172.27.128.1:11435/v1 "
        "ANTHROPIC_BASE_URL=http://172.27.128.1:11435"
    )
    config = tmp_path / ".wslconfig"
    assert network.windows_networking(config) == "nat"
    config.write_text("[wsl2]\nmemory=8GB\nnetworkingMode=Mirrored\n", "utf-8-sig")
    assert network.windows_networking(config) == "mirrored"


def test_an_area_that_cannot_be_looked_at_stops_no_other() -> None:
    def broken() -> list[Finding]:
        raise OSError("no such thing\nand a story of it")

    found = list(examine([("one", broken), ("two", lambda: [ok("fine")])]))
    assert [(f.area, f.level) for f in found] == [("one", "warning"), ("two", "ok")]
    assert found[0].words == "could not be looked at: no such thing"
    assert "manage.py doctor" in found[0].remedy


# --- the command ------------------------------------------------------------------------------------------------


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "doctor", *arguments],
        cwd=ROOT,
        env=environment(folder, NPU_PROXY_DATA_DIR=str(folder), **variables),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_sick_installation_is_told_mended_and_told_again(tmp_path: Path, machine: Machine) -> None:
    machine.path("/dev/accel/accel0").unlink()
    first = run(tmp_path, "--json", NPU_PROXY_SYSFS_ROOT=str(machine.root))
    assert first.returncode == 1, first.stderr
    rows = json.loads(first.stdout)["findings"]
    assert ("NPU", "fault") in {(row["area"], row["level"]) for row in rows}
    assert any(row["area"] == "database" and row["remedy"] == "manage.py migrate" for row in rows)
    secret = tmp_path / "secret_key"
    secret.write_text("x" * 60)
    secret.chmod(0o644)
    (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "pid": os.getpid()}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(tmp_path, "--fix", "--json", NPU_PROXY_PORT=port, NPU_PROXY_HOST="127.0.0.1")
    told = json.loads(done.stdout)
    assert [row["done"] for row in told["mended"]] == [
        "the secret key is its owner's alone",
        "the old address is forgotten",
        "the tables are those of this program",
    ]
    (sick,) = [row for row in told["findings"] if row["level"] == "fault"]
    assert (sick["area"], done.returncode) == ("port", 1)
    assert sick["words"].startswith(f"port {port} on 127.0.0.1 is taken")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_damaged_file_is_a_fault(tmp_path: Path) -> None:
    demo = tmp_path / "mine"
    shutil.copytree(ROOT / "inference" / "builtin" / "demo", demo)
    folder = tmp_path / "data"
    registered = subprocess.run(
        [sys.executable, "manage.py", "bench", "--register", "mine", str(demo)],
        cwd=ROOT,
        env=environment(folder, NPU_PROXY_DATA_DIR=str(folder)),
        capture_output=True,
        text=True,
    )
    assert registered.returncode == 0, registered.stderr
    weights = demo / "openvino_model.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    (sick,) = [
        row
        for row in json.loads(run(folder, "--json", NPU_PROXY_PORT="0").stdout)["findings"]
        if row["level"] == "fault"
    ]
    assert sick["words"].startswith("mine:latest: openvino_model.bin does not match its sha256")
    assert sick["remedy"] == "manage.py pullmodel mine:latest"


def test_an_emulated_npu_is_named_and_fitted(npu_server: RunningServer) -> None:
    """The server has it, the command was told nothing."""
    done = run(npu_server.data_dir, "--json")
    found = json.loads(done.stdout)["findings"]
    told = [row["words"] for row in found if row["area"] == "devices"]
    assert any(words.startswith("NPU: emulated on the CPU") for words in told), told
    assert any("demo:latest suits NPU" in row["words"] for row in found if row["area"] == "fit")
    assert all(row["remedy"] for row in found if row["level"] != "ok")


@pytest.mark.django_db(transaction=True)
def test_the_page_shows_the_same_to_who_may_change_devices() -> None:
    with engine_in_this_process():
        page = Browser().client.get("/admin/doctor/")
        assert (page.status_code, b"no model is installed" in page.content) == (200, True)
        operator = Browser("view_device", "change_device", name="operator").client
        assert operator.get("/admin/doctor/").status_code == 200
        assert operator.post("/admin/doctor/").status_code == 403
        clerk = Browser("view_model", name="clerk").client.get("/admin/doctor/")
    assert (clerk.status_code, b"broken" in clerk.content) == (403, False)
