"""The one log line of a request; for inference its record in the engine too. No text of prompt or answer."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence

from compat_api.urls import Operation
from inference import engine, metrics
from inference.energy import Energy, together
from inference.events import Embeddings, Event, Finish, Start
from inference.in_flight import IN_FLIGHT
from inference.states import RequestRecord, RunningRequest
from registry.key import Key
from registry.key_use import USE

logger = logging.getLogger("npuproxy.request")

_LONGEST = 300
_WORD = re.compile(r"[\w./:@+,-]{1,300}")


class RequestLog:
    """Collects the facts of one request; `close` writes them, once. Between `begin` and `close` it is in flight."""

    def __init__(
        self, request_id: str, method: str, path: str, operation: Operation, key: Key | None = None
    ) -> None:
        """`key` pays for the tokens."""
        self._id = request_id
        self._method = method
        self._path = path
        self._operation = operation
        self._key = key
        self._time = time.time()
        self._begun = time.perf_counter()
        self._start: Start | None = None
        self._routed: Start | None = None
        self._stop: Callable[[], None] = _nothing
        self._finish: Finish | None = None
        self._ttft_s: float | None = None
        self._others: list[Start] = []
        self._closed = False
        self.model = ""
        """As it was asked for."""
        self.found = ""
        """Its name in the registry, once it was found there."""
        self.priority = 1
        self.energy = Energy()
        """Of all answers, once they have ended."""
        self.ignored: tuple[str, ...] = ()
        """Options that were sent and have no meaning here."""

    def begin(self, stop: Callable[[], None]) -> None:
        """Inference is under way; `stop` ends it on the operator's wish. `close` is sure to come."""
        self._stop = stop
        IN_FLIGHT.begin(self)

    def elapsed_s(self) -> float:
        """Since the request's head arrived at the consumer."""
        return time.perf_counter() - self._begun

    def routed(self, start: Start) -> None:
        """A worker has it; the first token is to come."""
        self._routed = start

    def started(self, start: Start) -> None:
        """The first token or vector exists."""
        self._start = self._routed = start
        self._ttft_s = self.elapsed_s()
        metrics.started(self.found, (start,))

    @property
    def ttft_s(self) -> float | None:
        """None before the first token or vector."""
        return self._ttft_s

    @property
    def is_waiting(self) -> bool:
        """No token or vector yet."""
        return self._start is None

    def several(self, starts: Sequence[Event], ends: Sequence[Event]) -> None:
        """Instead of `finished`, where one request had several answers."""
        self._others = [start for start in starts if isinstance(start, Start) and start is not self._start]
        finishes = [end for end in ends if isinstance(end, Finish)]
        self._finish = finishes[0] if finishes else None
        self.energy = together([_energy(finish) for finish in finishes])

    def finished(self, finish: Finish) -> None:
        self._finish = finish
        self.energy = _energy(finish)

    def embedded(self, vectors: Embeddings) -> None:
        self.energy = _energy(vectors)

    def close(self, status: int, error: str = "") -> None:
        if self._closed:
            return
        self._closed = True
        IN_FLIGHT.end(self)
        record = self._record(status, error)
        if self._key is not None:
            USE.spend(self._key, record.prompt_tokens + record.completion_tokens)
        starts = (self._start, *self._others) if self._start is not None else ()
        metrics.ended(self._operation.path, record, self.found, starts)
        if self._operation.streaming:
            engine.current().record(record)
        key = self._key.name if self._key is not None else ""
        _write(self._method, self._path, record, self._operation, self.ignored, key)

    def running(self) -> RunningRequest:
        routed = self._routed
        return RunningRequest(
            id=self._id,
            time=self._time,
            operation=self._operation.name,
            model=self.model,
            state="answering" if self._start else "prefill" if routed else "waiting",
            route=routed.route if routed else None,
            prompt_tokens=routed.prompt_tokens if routed else 0,
            completion_tokens=self.tokens(),
            priority=self.priority,
            key=self._key.name if self._key is not None else "",
        )

    def tokens(self) -> int:
        return sum(one.meter.completion_tokens for one in (self._start, *self._others) if one)

    def stop(self) -> None:
        self._stop()

    def _record(self, status: int, error: str) -> RequestRecord:
        start, finish = self._start, self._finish
        return RequestRecord(
            id=self._id,
            time=self._time,
            operation=self._operation.name,
            model=self.model,
            status=status,
            route=start.route if start else None,
            prompt_tokens=_prompt_tokens(start, finish),
            completion_tokens=self.tokens(),
            queue_s=start.queue_s if start else 0.0,
            load_s=start.load_s if start else 0.0,
            ttft_s=self._ttft_s,
            decode_s=finish.decode_s if finish else 0.0,
            total_s=self.elapsed_s(),
            energy_j=self.energy.joules,
            energy_source=self.energy.source,
            error=error,
            priority=self.priority,
            key=self._key.name if self._key is not None else "",
            endpoint=self._operation.path,
            dialect=self._operation.dialect,
        )


def _energy(ended: Finish | Embeddings) -> Energy:
    return Energy(joules=ended.energy_j, source=ended.energy_source)


def _nothing() -> None:
    """To stop what was never begun."""


def _prompt_tokens(start: Start | None, finish: Finish | None) -> int:
    """What only another server counts is known at the end."""
    if start is None or start.counted:
        return start.prompt_tokens if start else 0
    return finish.prompt_tokens if finish else 0


def _write(
    method: str, path: str, record: RequestRecord, operation: Operation, ignored: tuple[str, ...], key: str
) -> None:
    level = logging.DEBUG if operation.probe else logging.INFO
    if not logger.isEnabledFor(level):
        return
    facts: dict[str, object] = {"model": _word(record.model), "status": record.status}
    if operation.streaming:
        facts |= _inference_facts(record)
    facts["total_ms"] = f"{record.total_s * 1000:.1f}"
    if key:
        facts["key"] = _word(key)
    if ignored:
        facts["ignored"] = _word(",".join(ignored))
    if record.error:
        facts["error"] = repr(record.error[:_LONGEST])
    line = " ".join([f"{name}={value}" for name, value in facts.items()])
    logger.log(level, "%s %s -> %s %s", method, _word(path), record.operation, line)


def _inference_facts(record: RequestRecord) -> dict[str, object]:
    route = record.route
    return {
        "requested": route.requested if route else "-",
        "routed": route.routed if route else "-",
        "executed": _word(route.executed if route else ""),
        "reason": route.reason if route else "-",
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "queue_ms": f"{record.queue_s * 1000:.1f}",
        "ttft_ms": "-" if record.ttft_s is None else f"{record.ttft_s * 1000:.1f}",
        "energy_j": "-" if record.energy_j is None else f"{record.energy_j:.3f}",
        "energy_source": record.energy_source,
    }


def _word(text: str) -> str:
    """What a client sent, so that it can neither break the line nor fill it."""
    return text if _WORD.fullmatch(text) else repr(text[:_LONGEST]) if text else "-"
