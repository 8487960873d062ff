"""Machines as the kernel shows them, made of files below a folder: real names, units and links, to be changed at will.

laptop(root)     Core Ultra: two batteries, a mouse's too, coretemp, Dell's fans, RAPL, an NPU, integrated graphics (xe)
desktop(root)    RAPL for root alone, fans of a mainboard, integrated graphics (i915) beside a card of Intel's (xe)
guest(root)      a virtual machine: nothing
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

FORBIDDEN = "/proc/sys/vm/compact_memory"
"""The kernel lets nobody read it, root neither."""
BROKEN = "/proc/self/mem"
"""Reading its beginning is an input/output error."""

Facts = Mapping[str, "str | int | Facts"]


class Machine:
    """A root folder. Paths are absolute, as on the machine itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before: dict[str, str] | None = None
        for name in ("accel", "drm", "hwmon", "power_supply", "powercap", "thermal"):
            (root / "sys/class" / name).mkdir(parents=True, exist_ok=True)

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def keep(self) -> None:
        """What is changed from now on, `restore` undoes."""
        self._before = {}

    def restore(self) -> None:
        before, self._before = self._before or {}, {}
        for path, was in before.items():
            if was.startswith("-> "):
                self.path(path).symlink_to(was.removeprefix("-> "))
            else:
                self.answer(path, was)

    def _changing(self, path: str) -> None:
        file = self.path(path)
        if self._before is not None and path not in self._before:
            self._before[path] = (
                f"-> {file.readlink()}" if file.is_symlink() else file.read_text("utf-8").strip()
            )

    def set(self, path: str, value: str | int) -> None:
        file = self.path(path)
        if file.is_file() and not file.is_symlink():
            self._changing(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}")
        fresh.write_text(f"{value}\n", "utf-8")
        fresh.replace(file)  # at once: nobody reads half of it

    def fill(self, folder: str, facts: Facts) -> None:
        for name, value in facts.items():
            if isinstance(value, Mapping):
                self.fill(f"{folder}/{name}", value)
            else:
                self.set(f"{folder}/{name}", value)

    def add(self, kind: str, name: str, device: str, facts: Facts) -> str:
        """/sys/class/KIND/NAME, a link to the device's folder, which gets the files. Returns the path in /sys/class."""
        target = self.path(f"/sys/devices/{device}")
        target.mkdir(parents=True, exist_ok=True)
        self.fill(f"/sys/devices/{device}", facts)
        link = self.path(f"/sys/class/{kind}/{name}")
        link.symlink_to(os.path.relpath(target, link.parent))
        return f"/sys/class/{kind}/{name}"

    def vanish(self, kind: str, name: str) -> None:
        self._changing(f"/sys/class/{kind}/{name}")
        self.path(f"/sys/class/{kind}/{name}").unlink()

    def replace(self, path: str, target: str) -> None:
        """Instead of the file a link to one of FORBIDDEN and BROKEN."""
        self._changing(path)
        self.path(path).unlink()
        self.path(path).symlink_to(target)

    def hang(self, path: str) -> None:
        """Whoever reads it waits until `answer`."""
        self._changing(path)
        self.path(path).unlink()
        os.mkfifo(self.path(path))

    def answer(self, path: str, value: str | int) -> None:
        """Lets whoever waits read nothing, and puts the file back."""
        fifo = self.path(path)
        with contextlib.suppress(OSError):  # nobody waits
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        self.set(path, value)

    # --- parts --------------------------------------------------------------------------------------------------------

    def hwmon(self, name: str, driver: str, device: str, facts: Facts) -> str:
        return self.add("hwmon", name, f"{device}/hwmon/{name}", {"name": driver, **facts})

    def rapl(self, zone: str, name: str, energy_uj: int, control: str = "intel-rapl") -> str:
        facts: Facts = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": RAPL_RANGE_UJ}
        return self.add(
            "powercap", f"{control}:{zone}", f"virtual/powercap/{control}/{control}:{zone}", facts
        )

    def cpus(self, count: int) -> None:
        for cpu in range(count):
            self.fill(
                f"/sys/devices/system/cpu/cpu{cpu}",
                {
                    "thermal_throttle": {"core_throttle_count": 3, "package_throttle_count": 7},
                    "topology": {"physical_package_id": 0},
                },
            )
            self.set(f"/sys/devices/system/cpu/cpufreq/policy{cpu}/scaling_cur_freq", 800_000 + cpu * 100_000)
        self.proc()

    def proc(self, guest: bool = False) -> None:
        self.set("/proc/stat", "cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 100 0 50 850 0 0 0 0 0 0")
        self.set("/proc/meminfo", "MemTotal: 32000000 kB\nMemFree: 1000 kB\nMemAvailable: 20000000 kB")
        self.set("/proc/cpuinfo", "flags\t\t: fpu vme hypervisor" if guest else "flags\t\t: fpu vme")

    def gpu_power(self, device: str, status: str = "active", control: str = "on") -> None:
        self.fill(
            f"/sys/devices/{device}/power",
            {"runtime_status": status, "control": control, "autosuspend_delay_ms": 1000},
        )


RAPL_RANGE_UJ = 262_143_328_850
NPU = "/sys/class/accel/accel0/device"
GT = "/sys/class/drm/card0/device/tile0/gt0"
NPU_FACTS: Facts = {
    "uevent": "DRIVER=intel_vpu\nPCI_CLASS=120000\nPCI_ID=8086:7D1D\nPCI_SLOT_NAME=0000:00:0b.0",
    "npu_busy_time_us": 5_000_000,
    "npu_current_frequency_mhz": 0,
    "npu_memory_utilization": 0,
}
XE_GT: Facts = {
    "freq0": {
        "act_freq": 300,
        "cur_freq": 350,
        "throttle": {"status": 0, "reason_pl1": 0, "reason_thermal": 0, "reason_prochot": 0},
    },
    "gtidle": {"idle_residency_ms": 1000, "idle_status": "gt-c6"},
}


def batteries(machine: Machine) -> None:
    acpi = "LNXSYSTM:00/PNP0C0A:00/power_supply"
    machine.add(
        "power_supply", "BAT0", f"{acpi}/BAT0",
        {"type": "Battery", "present": 1, "status": "Full", "capacity": 100, "energy_now": 57_000_000,
         "energy_full": 57_000_000},
    )  # fmt: skip
    machine.add(
        "power_supply", "BAT1", f"{acpi}/BAT1",
        {"type": "Battery", "present": 1, "status": "Full", "capacity": 50, "energy_now": 9_500_000,
         "energy_full": 19_000_000},
    )  # fmt: skip
    machine.add("power_supply", "AC", f"{acpi}/AC", {"type": "Mains", "online": 1})
    machine.add(
        "power_supply", "ucsi-source-psy-USBC000:001", f"{acpi}/usbc",
        {"type": "USB", "scope": "System", "online": 1},
    )  # fmt: skip
    machine.add(
        "power_supply", "hidpp_battery_0", "pci0000:00/usb/hidpp_battery_0",
        {"type": "Battery", "scope": "Device", "present": 1, "status": "Discharging", "capacity": 3},
    )  # fmt: skip


def laptop(root: Path) -> Machine:
    machine = Machine(root)
    batteries(machine)
    machine.cpus(4)
    machine.hwmon("hwmon0", "acpitz", "virtual/thermal/thermal_zone0", {"temp1_input": 27_800})
    machine.hwmon(
        "hwmon10", "coretemp", "platform/coretemp.0",
        {"temp1_label": "Package id 0", "temp1_input": 52_000, "temp1_crit": 110_000,
         "temp2_label": "Core 0", "temp2_input": 60_000},
    )  # fmt: skip
    machine.hwmon(
        "hwmon2", "dell_smm", "platform/dell_smm_hwmon",
        {"fan1_label": "CPU Fan", "fan1_input": 1200, "fan1_max": 5000, "pwm1": 128,
         "temp1_label": "CPU", "temp1_input": 55_000},
    )  # fmt: skip
    machine.rapl("0", "package-0", RAPL_RANGE_UJ - 4_000_000)
    machine.rapl("0:0", "core", 1_000_000)
    machine.rapl("0:1", "uncore", 2_000_000)
    machine.rapl("1", "psys", 9_000_000)
    machine.rapl("0", "package-0", RAPL_RANGE_UJ - 4_000_000, control="intel-rapl-mmio")
    pci = "pci0000:00/0000:00:0b.0"
    machine.add("accel", "accel0", f"{pci}/accel/accel0", {})
    machine.fill(f"/sys/devices/{pci}", NPU_FACTS)
    machine.path(f"/sys/devices/{pci}/accel/accel0/device").symlink_to("../..")
    graphics(machine, "card0", "0000:00:02.0", "xe", {"tile0": {"gt0": XE_GT}}, {"card0-eDP-1": {}})
    return machine


def graphics(
    machine: Machine,
    name: str,
    address: str,
    driver: str,
    device: Facts,
    card: Facts,
    bus: str = "pci0000:00",
) -> str:
    """/sys/class/drm/NAME with its PCI device, whose files are `device`; the card's own are `card`."""
    pci = f"{bus}/{address}"
    path = machine.add("drm", name, f"{pci}/drm/{name}", card)
    machine.fill(
        f"/sys/devices/{pci}",
        {"uevent": f"DRIVER={driver}\nPCI_CLASS=30000\nPCI_ID=8086:7D55\nPCI_SLOT_NAME={address}", **device},
    )
    machine.gpu_power(pci)
    machine.path(f"{path}/device").symlink_to("../..")
    return path


def desktop(root: Path) -> Machine:
    machine = Machine(root)
    machine.cpus(2)
    machine.hwmon(
        "hwmon1", "k10temp", "pci0000:00/0000:00:18.3",
        {"temp1_label": "Tctl", "temp1_input": 65_000, "temp3_label": "Tccd1", "temp3_input": 44_000},
    )  # fmt: skip
    machine.hwmon(
        "hwmon2", "nct6798", "platform/nct6775.656",
        {"fan1_input": 0, "pwm1": 153, "fan2_input": 1100, "pwm2": 51, "pwm2_enable": 5},
    )  # fmt: skip
    machine.rapl("0", "package-0", 1_000_000)
    machine.replace("/sys/class/powercap/intel-rapl:0/energy_uj", FORBIDDEN)
    graphics(
        machine, "card1", "0000:00:02.0", "i915", {},
        {"gt_cur_freq_mhz": 350,
         "gt": {"gt0": {"rps_act_freq_mhz": 0, "rc6_residency_ms": 1000, "throttle_reason_status": 0,
                        "throttle_reason_thermal": 0}}},
    )  # fmt: skip
    card = graphics(
        machine, "card0", "0000:03:00.0", "xe",
        {"tile0": {"gt0": XE_GT},
         "hwmon": {"hwmon4": {"name": "xe", "energy1_input": 700_000_000, "energy2_input": 1,
                              "temp2_label": "pkg", "temp2_input": 48_000, "temp3_label": "vram",
                              "temp3_input": 56_000, "fan1_input": 900}}},
        {}, bus="pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0",
    )  # fmt: skip
    machine.path("/sys/class/hwmon/hwmon4").symlink_to(f"../drm/{Path(card).name}/device/hwmon/hwmon4")
    return machine


def guest(root: Path) -> Machine:
    machine = Machine(root)
    machine.proc(guest=True)
    return machine
