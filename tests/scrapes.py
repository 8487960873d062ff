"""GET /metrics as Prometheus reads it: by prometheus_client's own parsers."""

from __future__ import annotations

import httpx
from conftest import RunningServer
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels."""

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def text(server: RunningServer, accept: str = "") -> str:
    answer = httpx.get(f"{server.url}/metrics", headers={"Accept": accept} if accept else {}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text


def families(server: RunningServer) -> list[Metric]:
    return list(text_string_to_metric_families(text(server)))


def open_families(server: RunningServer) -> list[Metric]:
    """Raises ValueError for what is not OpenMetrics."""
    return list(open_metrics(text(server, OPEN_METRICS)))  # type: ignore[no-untyped-call]


class Scrape:
    """The values of one moment."""

    def __init__(self, server: RunningServer) -> None:
        self.families = {family.name: family for family in families(server)}
        self.values: dict[Sample, float] = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """0.0 where there is none, as before its first time."""
        return self.values.get((f"npu_proxy_{name}", tuple(sorted(labels.items()))), 0.0)

    def moved(self, family: str, before: Scrape) -> bool:
        """Any of its samples has another value, or is new and not 0."""
        samples = [key for key in self.values if key[0] in _names(self.families[family])]
        return any(self.values[key] != before.values.get(key, 0.0) for key in samples)


def _names(family: Metric) -> set[str]:
    return {sample.name for sample in family.samples}
