"""What a scrape of GET /metrics reads from the engine's snapshot: no device is asked, and what is unknown is absent."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import psutil
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference.metrics import label_of
from inference.states import DeviceState, LoadedModel, Snapshot
from inference.telemetry.readings import DeviceReadings, Readings

BREAKER = {"closed": 0, "half_open": 1, "open": 2}

_NOTHING = Snapshot(time=0.0, uptime_s=0.0, devices=(), models=(), memory_budget_bytes=0, memory_used_bytes=0)

Row = tuple[list[str], float]


class Gauges(Collector):
    """`snapshot`: None outside the server."""

    def __init__(self, snapshot: Callable[[], Snapshot | None], version: str) -> None:
        self._snapshot = snapshot
        self._version = version

    def describe(self) -> Iterator[Metric]:
        """All that it ever gives, without values."""
        return _families(_NOTHING, "")

    def collect(self) -> Iterator[Metric]:
        now = self._snapshot()
        if now is not None:
            yield from _families(now, self._version)


def _families(now: Snapshot, version: str) -> Iterator[Metric]:
    build = [([version, now.openvino or "unknown", platform.python_version()], 1.0)]
    yield _gauge("build_info", "Always 1", ("version", "openvino", "python"), build)
    yield _gauge("uptime_seconds", "Since the engine started", (), [([], now.uptime_s)])
    yield from _devices(now.devices)
    yield from _models(now)
    yield from _machine(now.readings)


def _devices(devices: tuple[DeviceState, ...]) -> Iterator[Metric]:
    label = ("device",)

    def rows(value: Callable[[DeviceState], float]) -> list[Row]:
        return [([state.id], value(state)) for state in devices]

    yield _gauge("device_available", "1 while the runtime sees it", label, rows(lambda one: one.available))
    yield _gauge("device_slots", "Requests it runs at once", label, rows(lambda one: one.slots))
    yield _gauge("running_requests", "Requests that run on it", label, rows(lambda one: one.running))
    yield _gauge(
        "queue_depth",
        "Requests that wait for it or for their model on it",
        label,
        rows(lambda one: one.waiting),
    )
    hits, misses = rows(lambda one: one.cache_hits), rows(lambda one: one.cache_misses)
    yield _counter("embedding_cache_hits", "Texts whose vector was known", label, hits)
    yield _counter("embedding_cache_misses", "Texts whose vector was made", label, misses)


def _models(now: Snapshot) -> Iterator[Metric]:
    ready = [model for model in now.models if model.state == "ready"]
    copies = Counter(label_of(model.name) for model in ready)
    yield _gauge(
        "loaded_models",
        "Copies of the model in memory, one for each device that holds it",
        ("model",),
        [([name], count) for name, count in copies.items()],
    )
    workers: Counter[tuple[str, str]] = Counter()
    for model in ready:
        workers[label_of(model.name), model.device] += _resident_bytes(model)
    yield _gauge(
        "worker_memory_bytes",
        "Resident memory of the model's worker process; a graphics card's own memory is not in it",
        ("model", "device"),
        [([name, device], size) for (name, device), size in workers.items()],
    )
    yield _gauge(
        "breaker_state",
        "0 closed, 1 half open (the next request decides), 2 open: of what has crashed since the start, and of "
        "other servers, without a model",
        ("model", "device"),
        [
            *(([label_of(one.name), one.device], BREAKER[one.state]) for one in now.breakers),
            *((["", one.id], BREAKER[one.breaker]) for one in now.devices if not one.local),
        ],
    )
    yield _gauge("memory_budget_bytes", "What models may take", (), [([], now.memory_budget_bytes)])
    yield _gauge("memory_used_bytes", "What models take, as budgeted", (), [([], now.memory_used_bytes)])


def _resident_bytes(model: LoadedModel) -> int:
    try:
        return int(psutil.Process(model.pid).memory_info().rss) if model.pid else 0
    except psutil.Error:
        return 0  # it has just ended


def _machine(readings: Readings) -> Iterator[Metric]:
    label = ("device",)

    def rows(value: Callable[[DeviceReadings], float | None]) -> list[Row]:
        values = [(device.id, value(device)) for device in readings.devices]
        return [([name], one) for name, one in values if one is not None]

    energy = [
        ([device.id, device.energy.source], device.energy.value)
        for device in readings.devices
        if device.energy.value is not None
    ]
    words = "Since the start, of what the device draws from: devices of one package name the same source"
    yield _counter("energy_joules", words, ("device", "source"), energy)
    yield _gauge("power_watts", "Drawn now", label, rows(lambda one: one.power.value))
    yield _gauge("temperature_celsius", "Of the device", label, rows(lambda one: one.temperature.value))
    yield _gauge("utilisation_ratio", "Busy, 0 to 1", label, rows(lambda one: _ratio(one.utilisation.value)))
    yield _gauge(
        "throttling",
        "1 while heat or protection holds its clock down",
        label,
        rows(lambda one: one.throttling.value),
    )
    own = [([device.id], _ratio(device.fan.value)) for device in readings.devices]
    fans = [*own, *(([fan.name], _ratio(fan.percent.value)) for fan in readings.fans)]
    yield _gauge("fan_ratio", "Of its full speed, 0 to 1", ("fan",), _known(fans))
    yield _gauge("battery_ratio", "Charge, 0 to 1", (), _known([([], _ratio(readings.battery.value))]))
    yield _gauge("on_battery", "1 without the charger", (), _known([([], readings.on_battery.value)]))


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _known(rows: list[tuple[list[str], float | None]]) -> list[Row]:
    return [(labels, value) for labels, value in rows if value is not None]


def _gauge(name: str, words: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(f"npu_proxy_{name}", words, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family


def _counter(name: str, words: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = CounterMetricFamily(f"npu_proxy_{name}", words, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family
