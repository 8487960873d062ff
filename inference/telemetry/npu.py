"""Intel NPUs: /sys/class/accel/accel*/device of the driver intel_vpu (drivers/accel/ivpu/ivpu_sysfs.c).

npu_busy_time_us: microseconds in which jobs were submitted; npu_current_frequency_mhz: 0 while it rests;
npu_memory_utilization: bytes. None of them wakes the device. Its power no file tells.
"""

from __future__ import annotations

from msgspec import Struct

from inference.telemetry.counters import Kept, Rate, percent
from inference.telemetry.readings import BYTES, MHZ, PERCENT, DeviceReadings, Note, Part, Reading
from inference.telemetry.sysfs import Files

CLASS = "/sys/class/accel"
DRIVER = "intel_vpu"


class Npu(Struct, frozen=True):
    id: str
    folder: str
    address: str
    busy: Rate


def find(files: Files, kept: Kept) -> tuple[Npu, ...]:
    """In the order of their addresses, which is OpenVINO's: NPU, NPU.1."""
    found = []
    for name in files.entries(CLASS, r"accel\d+"):
        facts = files.uevent(f"{CLASS}/{name}/device")
        if facts.get("DRIVER") == DRIVER:
            found.append((facts.get("PCI_SLOT_NAME", name), f"{CLASS}/{name}/device"))
    return tuple(
        Npu(f"NPU.{index}" if index else "NPU", folder, address, kept.of(f"busy {address}", Rate))
        for index, (address, folder) in enumerate(sorted(found))
    )


class Npus:
    key = "NPU"

    def __init__(self, files: Files, kept: Kept) -> None:
        self._files = files
        self._npus = find(files, kept)

    def read(self, now: float) -> Part:
        devices = tuple(self._one(npu, now) for npu in self._npus)
        notes = self._files.take_faults()
        if any(not self._files.exists(f"{npu.folder}/npu_busy_time_us") for npu in self._npus):
            notes += (Note("NPU load: this kernel's driver does not count it", "Linux 6.11 or newer"),)
        return Part(devices=devices, notes=notes)

    def _one(self, npu: Npu, now: float) -> DeviceReadings:
        busy_us = self._files.number(f"{npu.folder}/npu_busy_time_us")
        busy = npu.busy.per_s(None if busy_us is None else busy_us / 1e6, now)
        load = Reading(unit=PERCENT)
        if busy is not None:
            load = Reading(percent(busy), PERCENT, "npu_busy_time_us", now)
        return DeviceReadings(
            id=npu.id, kind="npu", name="Intel NPU", address=npu.address, on_package=":00:" in npu.address,
            utilisation=load,
            frequency=self._plain(npu, "npu_current_frequency_mhz", MHZ, now),
            memory_used=self._plain(npu, "npu_memory_utilization", BYTES, now),
        )  # fmt: skip

    def _plain(self, npu: Npu, file: str, unit: str, now: float) -> Reading:
        value = self._files.number(f"{npu.folder}/{file}")
        return Reading(unit=unit) if value is None else Reading(float(value), unit, file, now)
