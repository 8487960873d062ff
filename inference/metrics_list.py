"""Every metric of ours with its kind, labels and words, for docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from inference import metrics
from inference.gauges import Gauges


class Declared(NamedTuple):
    """As a query names it: a counter ends in _total, a histogram has _bucket, _sum and _count."""

    name: str
    kind: str
    labels: tuple[str, ...]
    words: str


def declared() -> tuple[Declared, ...]:
    """By name."""
    pushed = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    rows = [_of(next(iter(one.describe())), one) for one in pushed]
    read: Iterable[Any] = (*metrics.Tokens().collect(), *Gauges(lambda: None, "").describe())
    return tuple(sorted([*rows, *(_of(family, family) for family in read)]))


def _of(family: Any, labelled: Any) -> Declared:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Declared(name, family.type, tuple(labelled._labelnames), family.documentation)
