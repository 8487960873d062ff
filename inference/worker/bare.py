"""`python -P -m inference.worker.bare`: openvino_genai without a server, the other side of every benchmark.

A line of JSON in, a line out. The first one is a `Setup`, answered by `Ready`; every other one a `Batch`,
answered by `Traces`. The process waits on its standard input while the other side is measured, and ends with
it. Both kinds of pipeline get the scheduler and the hints that the product's own workers use.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from inference.worker.messages import Add, Load

Kind = Literal["step", "stream"]


class Setup(Struct, frozen=True, kw_only=True):
    """`step`: add_request() and step() in a loop. `stream`: LLMPipeline with a streamer of token ids."""

    kind: Kind
    load: Load
    eos_ids: tuple[int, ...]


class Ready(Struct, frozen=True):
    load_s: float


class BareCall(Struct, frozen=True, kw_only=True):
    """Greedy, from token ids. `start_s` counts from the batch's begin."""

    ids: tuple[int, ...]
    max_tokens: int
    start_s: float = 0.0


class Batch(Struct, frozen=True):
    calls: tuple[BareCall, ...]


class BareTrace(Struct):
    """When tokens came, in seconds from the batch's begin, and which."""

    arrivals: list[float]
    ids: list[int]


class Traces(Struct, frozen=True):
    traces: list[BareTrace]


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the runtime prints must not get between the answers
    lines: Iterator[bytes] = iter(sys.stdin.buffer.readline, b"")
    setup = msgspec.json.decode(next(lines), type=Setup)
    sides: dict[str, Any] = {"step": StepLoop, "stream": Streamer}
    import openvino_genai  # noqa: F401  # the import is not part of the load

    began = time.perf_counter()
    side = sides[setup.kind](setup)
    _say(answers, Ready(time.perf_counter() - began))
    for line in lines:
        batch = msgspec.json.decode(line, type=Batch)
        _say(answers, Traces(side.run(batch.calls)))
    os._exit(0)  # as the workers do: without the destructors of the pipeline


def _say(answers: Any, value: Ready | Traces) -> None:
    answers.write(msgspec.json.encode(value) + b"\n")


def _tensor(ids: tuple[int, ...]) -> Any:
    import numpy
    import openvino

    return openvino.Tensor(numpy.array([ids], dtype=numpy.int64))


def _configuration(call: BareCall, eos_ids: tuple[int, ...]) -> Any:
    from inference.worker.sampling import generation_config

    add = Add(
        id=0,
        ids=b"",
        max_new_tokens=call.max_tokens,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        seed=0,
        repeat_penalty=1.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        eos_ids=eos_ids,
    )
    return generation_config(add)


class StepLoop:
    """Continuous batching in this process, nothing around it."""

    def __init__(self, setup: Setup) -> None:
        import openvino_genai as genai

        from inference.worker.batching import properties, scheduler

        load = setup.load
        self._pipeline = genai.ContinuousBatchingPipeline(
            load.path, scheduler(load.kv_blocks), load.device, properties(load)
        )
        self._running_status = genai.GenerationStatus.RUNNING
        self._eos_ids = setup.eos_ids
        self._next_id = 0

    def run(self, calls: tuple[BareCall, ...]) -> list[BareTrace]:
        traces = [BareTrace([], []) for _ in calls]
        due = sorted(zip(calls, traces, strict=True), key=lambda pair: pair[0].start_s, reverse=True)
        running: list[tuple[Any, BareTrace]] = []
        began = time.perf_counter()
        while due or running:
            now = time.perf_counter() - began
            if not running and due[-1][0].start_s > now:
                time.sleep(due[-1][0].start_s - now)
                continue
            while due and due[-1][0].start_s <= now:
                call, trace = due.pop()
                running.append((self._add(call), trace))
            self._pipeline.step()
            running = [pair for pair in running if self._read(*pair, began)]
        return traces

    def _add(self, call: BareCall) -> Any:
        self._next_id += 1
        return self._pipeline.add_request(
            self._next_id, _tensor(call.ids), _configuration(call, self._eos_ids)
        )

    def _read(self, handle: Any, trace: BareTrace, began: float) -> bool:
        """Takes the new tokens; False when the request has ended."""
        status = handle.get_status()
        if handle.can_read():
            for output in handle.read().values():
                trace.ids.extend(output.generated_ids)
            trace.arrivals.append(time.perf_counter() - began)
        return bool(status == self._running_status)


class Streamer:
    """LLMPipeline, one call after the other; the streamer gets token ids, the cheapest that there is."""

    def __init__(self, setup: Setup) -> None:
        import openvino_genai as genai

        from inference.worker.batching import properties, scheduler

        load = setup.load
        self._pipeline = genai.LLMPipeline(
            load.path, load.device, scheduler_config=scheduler(load.kv_blocks), **properties(load)
        )
        self._eos_ids = setup.eos_ids
        self._clock = _clock_class(genai)

    def run(self, calls: tuple[BareCall, ...]) -> list[BareTrace]:
        began = time.perf_counter()
        return [self._one(call, began) for call in calls]

    def _one(self, call: BareCall, began: float) -> BareTrace:
        import numpy
        import openvino
        import openvino_genai as genai

        trace = BareTrace([], [])
        mask = openvino.Tensor(numpy.ones((1, len(call.ids)), dtype=numpy.int64))
        inputs = genai.TokenizedInputs(_tensor(call.ids), mask)
        self._pipeline.generate(inputs, _configuration(call, self._eos_ids), self._clock(trace, began))
        return trace


def _clock_class(genai: Any) -> Any:
    """A streamer that notes when each token came."""

    class Clock(genai.StreamerBase):  # type: ignore[misc]
        def __init__(self, trace: BareTrace, began: float) -> None:
            super().__init__()
            self._trace = trace
            self._began = began

        def write(self, token: int | list[int]) -> Any:
            self._trace.ids.extend([token] if isinstance(token, int) else token)
            self._trace.arrivals.append(time.perf_counter() - self._began)
            return genai.StreamingStatus.RUNNING

        def end(self) -> None:
            """Nothing is held back."""

    return Clock


if __name__ == "__main__":
    main()
