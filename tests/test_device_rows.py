"""Rows of devices: what the runtime tells of each, and what happens when one goes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from inference.states import DeviceState
from inference.worker.__main__ import driver, memory
from registry import devices
from registry.models import Device, change

pytestmark = pytest.mark.django_db

GPU = DeviceState(
    id="GPU.1", full_name="Intel(R) Arc(TM) A770 (dGPU)", available=True, slots=32, running=0, waiting=0,
    memory_bytes=16 * 2**30,
)  # fmt: skip
NPU = structs.replace(GPU, id="NPU", full_name="Intel(R) AI Boost", driver="1688-7", memory_bytes=None)


def test_a_row_says_class_driver_and_memory_as_far_as_the_runtime_tells() -> None:
    devices.found((GPU, NPU))
    gpu, npu = Device.objects.order_by("name")
    assert (gpu.kind, gpu.driver, gpu.memory_bytes, gpu.present) == ("dgpu", "", 16 * 2**30, True)
    assert (npu.kind, npu.driver, npu.memory_bytes, npu.present) == ("npu", "1688-7", None, True)


def test_a_device_that_went_keeps_its_row_and_its_budget() -> None:
    devices.found((GPU, NPU))
    Device.objects.filter(name="GPU.1").update(memory_budget_mb=8000)
    devices.found((NPU,))
    assert dict(Device.objects.values_list("name", "present")) == {"GPU.1": False, "NPU": True}
    devices.found((structs.replace(GPU, available=False), NPU))
    assert not Device.objects.get(name="GPU.1").present
    devices.found((GPU, NPU))
    row = Device.objects.get(name="GPU.1")
    assert (row.present, row.memory_budget_mb) == (True, 8000)


def test_what_has_not_changed_is_not_written_again() -> None:
    devices.found((GPU, NPU))
    before = change.stamps()
    devices.found((GPU, NPU))
    assert change.stamps() == before


class Core:
    """The runtime's, of a device whose plugin knows these properties; it is not in this machine."""

    def __init__(self, **known: Any) -> None:
        self.known = known

    def get_property(self, device: str, name: str) -> Any:
        if name == "SUPPORTED_PROPERTIES":
            return dict.fromkeys(self.known, "RO")
        value = self.known[name]
        if isinstance(value, Exception):
            raise value
        return value


@pytest.mark.parametrize(
    ("core", "size", "version"),
    [
        (Core(FULL_DEVICE_NAME="x"), 0, ""),
        (Core(GPU_DEVICE_TOTAL_MEM_SIZE=2**34), 2**34, ""),
        (Core(NPU_DEVICE_TOTAL_MEM_SIZE=2**30, NPU_DRIVER_VERSION=1688), 2**30, "1688"),
        (Core(NPU_DEVICE_TOTAL_MEM_SIZE=RuntimeError("no driver"), NPU_DRIVER_VERSION=1688), 0, "1688"),
        (Core(GPU_DEVICE_TOTAL_MEM_SIZE="unknown"), 0, ""),
    ],
)
def test_a_property_that_a_device_lacks_or_refuses_is_left_out(core: Core, size: int, version: str) -> None:
    assert (memory(core, "X"), driver(core, "X")) == (size, version)
