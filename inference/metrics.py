"""What is counted where it happens, for GET /metrics; what can be read at a scrape is in `inference.gauges`.

1. A token costs an addition into its answer's `TokenGaps`; all else is counted once a request.
2. Labels are bounded: a model counts by its name in the registry, once it was found, and beyond MOST_MODELS as `other`.
3. Event loop only, but `REGISTRY.collect`, which any thread may call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inference.events import Start
from inference.meter import Meter
from inference.route_facts import Route
from inference.states import RequestRecord
from inference.token_gaps import BOUNDS_S, TokenGaps

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for

REGISTRY: Final = CollectorRegistry(auto_describe=True)
"""Every metric named npu_proxy_…, and nothing else."""

MOST_MODELS: Final = 200
OTHER: Final = "other"
_OK: Final = 200
_WAITS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_LOADS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)


def _counter(name: str, words: str, *labels: str) -> Counter:
    return Counter(f"npu_proxy_{name}", words, labels, registry=REGISTRY)


def _histogram(name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"npu_proxy_{name}", words, labels, buckets=buckets, registry=REGISTRY)


REQUESTS = _counter(
    "requests",
    "Requests by endpoint and HTTP status; 499: the client left. Refusals by the gate count, unknown paths as other",
    *("endpoint", "status"),
)
DURATION = _histogram(
    "inference_duration_seconds",
    "Answered requests from their arrival to their last token or vector, wait and load included, by executed device",
    _WAITS_S,
    *("model", "device"),
)
TTFT = _histogram(
    "time_to_first_token_seconds",
    "Generations from their arrival to their first token, wait and load included",
    _WAITS_S,
    "model",
)
TOKENS_PER_SECOND = Gauge(
    "npu_proxy_tokens_per_second",
    "Decode rate of the model's last answer of five tokens or more, after its first one; throughput is "
    "rate(npu_proxy_tokens_generated_total)",
    ("model",),
    registry=REGISTRY,
)
PROMPT_TOKENS = _counter("prompt_tokens", "Tokens of prompts and of embedded texts", "model")
EXECUTIONS = _counter(
    "executions", "Requests by the device that executed them, as the runtime says", *("model", "device")
)
DECISIONS = _counter(
    "routing_decisions", "Requests by the device they were sent to, and why there", *("device", "reason")
)
FALLBACKS = _counter(
    "fallbacks", "Requests sent to a device after another one failed them, and why", *("device", "reason")
)
ENERGY = _counter(
    "request_energy_joules", "Energy of answers and vectors, measured or estimated; unknown ones are not in it",
    *("device", "source"),
)  # fmt: skip
QUEUE_TIME = _histogram(
    "queue_time_seconds", "Wait for a slot of the device, of requests that got one", _WAITS_S
)
LOADS = _counter(
    "model_loads", "Loads of models by their result: ok, failed or crashed", *("model", "device", "result")
)
LOAD_TIME = _histogram(
    "model_load_duration_seconds", "Loads that succeeded, compilation included", _LOADS_S, "device"
)
RESTARTS = _counter(
    "worker_restarts", "Workers that ended unasked, each replaced by the next load", *("model", "device")
)
PULL_BYTES = _counter("pull_bytes", "Bytes of models that pulls have fetched, as their rows say")
PULLS = _counter("pulls", "Pulls that have ended, by how: done, failed or cancelled", "state")
SOCKETS = Gauge("npu_proxy_websocket_connections", "Open WebSockets of /v1/stream/ws", registry=REGISTRY)


class _OfModel:
    """The children of one model, bound once."""

    __slots__ = ("gaps", "generated", "prompt_tokens", "ttft")

    def __init__(self, label: str) -> None:
        self.ttft = TTFT.labels(label)
        self.prompt_tokens = PROMPT_TOKENS.labels(label)
        self.generated = 0
        self.gaps = TokenGaps()


_models: dict[str, _OfModel] = {}
_executed: dict[tuple[str, str], tuple[Any, Any]] = {}
_requests: dict[tuple[str, int], Any] = {}
_decisions: dict[tuple[str, str], Any] = {}
_running: dict[int, tuple[_OfModel, Meter]] = {}
"""Answers that are not over, by the identity of their meter."""
_lock = threading.Lock()
"""Held while an answer's tokens change from those of the running to those of the ended."""


def label_of(model: str) -> str:
    """The model's own label while there is room for one more."""
    return model if model in _models or len(_models) < MOST_MODELS else OTHER


def _of(model: str) -> _OfModel:
    label = label_of(model)
    found = _models.get(label)
    if found is None:
        found = _models[label] = _OfModel(label)
    return found


# --- requests -------------------------------------------------------------------------------------------------------


def refused(endpoint: str, status: int) -> None:
    """A request that came no further than the gate."""
    key = (endpoint, status)
    child = _requests.get(key)
    if child is None:
        child = _requests[key] = REQUESTS.labels(endpoint, str(status))
    child.inc()


def routed(route: Route) -> Route:
    """The same route, counted."""
    key = (route.routed, route.reason)
    child = _decisions.get(key)
    if child is None:
        child = _decisions[key] = DECISIONS.labels(*key)
    child.inc()
    if route.fell_back:
        FALLBACKS.labels(route.routed, route.fallback_reason).inc()
    return route


def started(model: str, starts: Iterable[Start]) -> None:
    """Answers have begun: their tokens count from now on. `model`: its name in the registry."""
    of_model = _of(model)
    with _lock:
        for start in starts:
            _running[id(start.meter)] = (of_model, start.meter)


def ended(endpoint: str, record: RequestRecord, model: str = "", starts: Iterable[Start] = ()) -> None:
    """A request is over. `model`: its name in the registry, '' where none was found; `starts`: of its answers."""
    refused(endpoint, record.status)
    if record.route is None:
        return
    of_model = _of(model)
    of_model.prompt_tokens.inc(record.prompt_tokens)
    for start in starts:
        _end_answer(of_model, start.meter)
    key = (label_of(model), record.route.executed)
    bound = _executed.get(key)
    if bound is None:
        bound = _executed[key] = (EXECUTIONS.labels(*key), DURATION.labels(*key))
    executions, duration = bound
    executions.inc()
    if record.status == _OK:
        duration.observe(record.total_s)
    if record.energy_j is not None:
        _joules(record.route.executed, record.energy_source).inc(record.energy_j)
    if record.completion_tokens and record.ttft_s is not None:
        of_model.ttft.observe(record.ttft_s)
        if (rate := record.tokens_per_s) is not None:
            TOKENS_PER_SECOND.labels(label_of(model)).set(rate)


@cache
def _joules(device: str, source: str) -> Any:
    return ENERGY.labels(device, source)


def _end_answer(of_model: _OfModel, meter: Meter) -> None:
    with _lock:
        _running.pop(id(meter), None)
        of_model.generated += meter.completion_tokens
        if meter.gaps is not None:
            of_model.gaps.fold(meter.gaps)


# --- models ---------------------------------------------------------------------------------------------------------


def loaded(model: str, device: str, load_s: float) -> None:
    LOADS.labels(label_of(model), device, "ok").inc()
    LOAD_TIME.labels(device).observe(load_s)


def load_failed(model: str, device: str, *, crashed: bool) -> None:
    LOADS.labels(label_of(model), device, "crashed" if crashed else "failed").inc()


def restarted(model: str, device: str) -> None:
    RESTARTS.labels(label_of(model), device).inc()


# --- read at a scrape -----------------------------------------------------------------------------------------------


class Tokens(Collector):
    """Those of running answers included, so that a long answer shows while it runs."""

    def collect(self) -> Iterator[Metric]:
        with _lock:
            generated = {label: of_model.generated for label, of_model in _models.items()}
            labels = {id(of_model): label for label, of_model in _models.items()}
            for of_model, meter in _running.values():
                generated[labels[id(of_model)]] += meter.completion_tokens
            gaps = {label: (list(one.gaps.counts), one.gaps.total_s) for label, one in _models.items()}
        tokens = CounterMetricFamily(
            "npu_proxy_tokens_generated",
            "Tokens of answers, thoughts included, as they come",
            labels=["model"],
        )
        latency = HistogramMetricFamily(
            "npu_proxy_inter_token_latency_seconds",
            "Each token after the one before, as the worker's steps arrive; tokens of one step share its time. "
            "Counted when the answer ends",
            labels=["model"],
        )
        for label, count in generated.items():
            tokens.add_metric([label], count)
        for label, (counts, total_s) in gaps.items():
            if any(counts):
                latency.add_metric([label], _cumulative(counts), total_s)
        yield tokens
        yield latency


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    buckets, so_far = [], 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
        so_far += count
        buckets.append((bound, float(so_far)))
    return buckets


REGISTRY.register(Tokens())
