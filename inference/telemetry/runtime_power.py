"""Whether a PCI device sleeps (Documentation/ABI/testing/sysfs-devices-power): runtime_status, control,
autosuspend_delay_ms. Asking these wakes nobody; asking the device's own sensors does, and keeps it awake for another
autosuspend delay, so that a card that is asked every five seconds would never sleep.
"""

from __future__ import annotations

from inference.telemetry.readings import PERCENT, DeviceReadings, Kind, Reading
from inference.telemetry.sysfs import Files

IDLE_PERCENT = 2.0
MARGIN_S = 2.0
LONGEST_PAUSE_S = 20.0


class RuntimePower:
    """Of one device, whose folder this is."""

    def __init__(self, files: Files, device: str) -> None:
        self._files = files
        self._folder = f"{device}/power"
        self._quiet_until = 0.0

    def asleep(self) -> bool:
        return self._files.text(f"{self._folder}/runtime_status") in ("suspended", "suspending")

    def may_ask(self, now: float) -> bool:
        return now >= self._quiet_until

    def asked(self, utilisation: float | None, now: float) -> None:
        """A card that may sleep and had nothing to do is left alone for long enough to fall asleep."""
        self._quiet_until = 0.0
        if self._files.text(f"{self._folder}/control") != "auto":
            return
        if utilisation is not None and utilisation >= IDLE_PERCENT:
            return
        delay_ms = self._files.number(f"{self._folder}/autosuspend_delay_ms", note=False)
        if delay_ms is not None and delay_ms >= 0:
            self._quiet_until = now + min(LONGEST_PAUSE_S, delay_ms / 1000 + MARGIN_S)


def sleeping(device: str, kind: Kind, name: str, address: str, now: float) -> DeviceReadings:
    """It does nothing, which is known; the rest is not."""
    rest = Reading(0.0, PERCENT, "runtime_status: suspended", now)
    on_package = kind == "igpu"
    return DeviceReadings(
        id=device, kind=kind, name=name, address=address, on_package=on_package, asleep=True, utilisation=rest
    )
