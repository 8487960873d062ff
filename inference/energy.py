"""What a request took of the energy of its device: measured where a counter can be read, else estimated, else unknown.

A counter is the package's (CPU, NPU and integrated graphics draw from one) or a card's. It is read whenever a request
begins or ends on it; what it grew in between is divided among those that ran, by the tokens that each read or made
meanwhile, equally where nobody had any. So the shares of all add up to what the counter grew while any of them ran,
whatever else the machine did with it.

A card's counter is as old as the last sample: what it grew between two samples is divided once the second is there, and
a request that has ended by then is estimated: assumed or measured watts of the device, by the time that it had it,
divided in the same way. Shares of energy are never 0 for want of a reading: they are None.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from inference.events import EnergySource
from inference.telemetry.readings import Reading
from inference.telemetry.sampler import Sampler

PACKAGE = "package"
LEAST_S = 0.02
"""Of a request whose watts are worth keeping: RAPL counts each millisecond."""
STANDS_S = 0.5
"""A counter that has not moved for so long tells nothing of a processor that works."""


class Energy(Struct, frozen=True, kw_only=True):
    """Of one request."""

    joules: float | None = None
    source: EnergySource = "unknown"
    watts: float | None = None
    """Of all that the counter counts while the request ran; measured."""

    @property
    def measured(self) -> float | None:
        return self.joules if self.source == "measured" else None


UNKNOWN = Energy()


def together(shares: Iterable[Energy]) -> Energy:
    """Of several answers: known where each is, and measured where each is."""
    joules, sources = 0.0, set()
    for share in shares:
        sources.add(share.source)
        joules += share.joules or 0.0
    if not sources or "unknown" in sources:
        return UNKNOWN
    return Energy(joules=joules, source="estimated" if "estimated" in sources else "measured")


class Ticket:
    """A request that runs."""

    def __init__(
        self, ledger: Ledger, device: str, watts: float | None, tokens: Callable[[], int], counter: _Counter
    ) -> None:
        self._ledger = ledger
        self.device = device
        self.watts = watts
        self.counter = counter
        self._ended = False
        self.known = True
        """All of its time is counted, or will be."""
        self.joules = 0.0
        self.drawn = 0.0
        """Joules of all that ran on the counter meanwhile."""
        self.counted_s = self.took_s = 0.0
        self.held_s = 0.0
        """Its share of that time on its device."""
        self._tokens = tokens
        self._seen = tokens()

    def made(self) -> int:
        """Tokens since the last call."""
        tokens = self._tokens()
        made, self._seen = max(0, tokens - self._seen), tokens
        return made

    def so_far(self) -> Energy:
        """Of a request that runs, or of one that has ended."""
        if not self._ended:
            self._ledger.advance(self.counter, self.device)
        return self._energy()

    def end(self) -> None:
        """As often as one likes."""
        if not self._ended:
            self._ledger.advance(self.counter, self.device)
            self.counter.running.remove(self)
            self._ended = True

    def _energy(self) -> Energy:
        if self.known and self.counted_s > 0:  # what no sample has seen yet was like what one has
            watts = self.drawn / self.counted_s if self.counted_s >= LEAST_S else None
            return Energy(joules=self.joules * self.took_s / self.counted_s, source="measured", watts=watts)
        if self.watts is not None and self.took_s > 0:
            return Energy(joules=self.watts * self.held_s, source="estimated")
        return UNKNOWN


Slice = tuple[float, list[tuple[Ticket, float]]]
"""Seconds, and the shares of those who ran."""


class _Counter:
    def __init__(self) -> None:
        self.running: list[Ticket] = []
        self.last = Reading()
        self.at = 0.0
        self.moved_at = 0.0
        """When it last read otherwise than before."""
        self.pending: list[Slice] = []
        """Since `last`."""


class Ledger:
    """Event loop only. A reading of the package costs 10 to 30 µs: a file of the kernel's memory."""

    def __init__(self, telemetry: Sampler) -> None:
        self._telemetry = telemetry
        self._counters: dict[str, _Counter] = {}

    def begin(self, device: str, watts: float | None, tokens: Callable[[], int]) -> Ticket:
        """`tokens`: how many were read and made so far. `watts`: what the device is taken to draw; None is unknown."""
        found = self._telemetry.readings().of(device)
        name = PACKAGE if found is not None and found.on_package else device
        counter = self._counters.setdefault(name, _Counter())
        self.advance(counter, device)
        ticket = Ticket(self, device, watts, tokens, counter)
        counter.running.append(ticket)
        return ticket

    def advance(self, counter: _Counter, device: str) -> None:
        """Divides what came since the last look."""
        before, reading = time.monotonic(), self._telemetry.energy(device)
        now = reading.at if reading.at is not None and reading.at >= before else before
        passed_s, counter.at = now - counter.at, now
        last = counter.last
        if counter.running:
            counter.pending.append((passed_s, _shares(counter.running, passed_s)))
        if reading.value is None or reading.at is None or last.value is None or last.at is None:
            _lose(counter)
        elif reading.at > last.at:
            if reading.value != last.value or reading.at - counter.moved_at < STANDS_S:
                _settle(counter, (reading.value - last.value) / (reading.at - last.at))
            else:
                _lose(counter)
        else:
            return
        if reading.value != last.value and reading.at is not None:
            counter.moved_at = reading.at
        counter.last = reading


def _shares(running: list[Ticket], passed_s: float) -> list[tuple[Ticket, float]]:
    """Of the counter; of the time on a device likewise."""
    made = [(ticket, ticket.made()) for ticket in running]
    whole = sum([tokens for _, tokens in made])
    on_device: dict[str, list[int]] = {}
    for ticket, tokens in made:
        on_device.setdefault(ticket.device, []).append(tokens)
    for ticket, tokens in made:
        beside = on_device[ticket.device]
        ticket.took_s += passed_s
        ticket.held_s += passed_s * _share(tokens, sum(beside), len(beside))
    return [(ticket, _share(tokens, whole, len(made))) for ticket, tokens in made]


def _share(tokens: int, whole: int, requests: int) -> float:
    return tokens / whole if whole else 1 / requests


def _settle(counter: _Counter, watts: float) -> None:
    for passed_s, shares in counter.pending:
        for ticket, share in shares:
            ticket.joules += watts * passed_s * share
            ticket.drawn += watts * passed_s
            ticket.counted_s += passed_s
    counter.pending.clear()


def _lose(counter: _Counter) -> None:
    """No counter could be read at both ends of that time."""
    for _, shares in counter.pending:
        for ticket, _ in shares:
            ticket.known = False
    counter.pending.clear()
