"""GET /thermal: power, heat and load by device, each reading with its unit, source and age. Unknown is null."""

from __future__ import annotations

import time
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from compat_api.wire_view import WireView
from inference import engine
from inference.telemetry.readings import DeviceReadings, Fan, Flag, Reading, Readings


class ThermalView(WireView):
    """Who asks is watching: samples come every two seconds for a while."""

    def get(self, request: Request) -> Response:
        engine.current().telemetry.watch()
        return Response(thermal(engine.current().snapshot().readings, time.monotonic()))


def thermal(readings: Readings, now: float) -> dict[str, Any]:
    """`now`: time.monotonic()."""
    return {
        "devices": {device.id: device_readings(device, now) for device in readings.devices},
        "system": {
            "battery": _reading(readings.battery, now),
            "on_battery": _flag(readings.on_battery, now),
            "mean_temperature": _reading(readings.mean_temperature, now),
            "mean_fan": _reading(readings.mean_fan, now),
            "fans": [_fan(fan, now) for fan in readings.fans],
        },
        "notes": [{"what": note.what, "remedy": note.remedy or None} for note in readings.notes],
    }


def device_readings(device: DeviceReadings, now: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "class": device.kind,
        "name": device.name or None,
        "address": device.address or None,
        "asleep": device.asleep,
    }
    for name in device.__struct_fields__:
        value = getattr(device, name)
        if isinstance(value, Reading):
            shown[name] = _reading(value, now)
        elif isinstance(value, Flag):
            shown[name] = {**_flag(value, now), "reasons": list(value.reasons)}
    return shown


def _reading(reading: Reading, now: float) -> dict[str, Any]:
    value = None if reading.value is None else round(reading.value, 3)
    return {
        "value": value,
        "unit": reading.unit,
        "source": reading.source or None,
        "age_s": _age(reading, now),
    }


def _flag(flag: Flag, now: float) -> dict[str, Any]:
    return {"value": flag.value, "source": flag.source or None, "age_s": _age(flag, now)}


def _fan(fan: Fan, now: float) -> dict[str, Any]:
    return {"name": fan.name, "percent": _reading(fan.percent, now), "speed": _reading(fan.speed, now)}


def _age(reading: Reading | Flag, now: float) -> float | None:
    age_s = reading.age_s(now)
    return None if age_s is None else round(age_s, 3)
