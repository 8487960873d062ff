"""What the page's lines are drawn from: the last minutes of token rate, power and temperature, in a bounded ring."""

from __future__ import annotations

from collections import deque

from inference.telemetry.readings import Readings

SAMPLES = 240
"""Eight minutes while somebody looks, twenty while nobody does."""

Sample = tuple[float, float, float | None, float | None]
"""Unix time, tokens a second since the sample before, watts, °C; None is not known."""


class History:
    """Fed by one task."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._at = 0.0
        self._tokens = 0

    def take(self, now: float, tokens: int, readings: Readings) -> None:
        """`tokens`: all so far. The first call only begins."""
        if self._at and now > self._at:
            rate = max(0.0, (tokens - self._tokens) / (now - self._at))
            heat = readings.mean_temperature.value
            self._samples.append((round(now, 1), round(rate, 1), drawn(readings), _rounded(heat)))
        self._at, self._tokens = now, tokens

    def since(self, time: float) -> list[Sample]:
        return [sample for sample in self._samples if sample[0] > time]

    @property
    def last(self) -> Sample | None:
        return self._samples[-1] if self._samples else None


def drawn(readings: Readings) -> float | None:
    """Watts of everything that is measured: the package once, whoever shares it, and each card of its own."""
    package = [one.power.value for one in readings.devices if one.id == "CPU"]
    cards = [one.power.value for one in readings.devices if not one.on_package and one.id != "CPU"]
    known = [value for value in package + cards if value is not None]
    return _rounded(sum(known)) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
