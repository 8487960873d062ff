"""The engine in this process, as a target: no HTTP, no database. Its loop runs only while it is measured."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import psutil

from inference.bench_models import Subject, embedder
from inference.bench_sides import BenchError, Call, EmbedCall, EmbedTrace, Trace
from inference.config import EngineConfig
from inference.engine import Engine
from inference.errors import InferenceError
from inference.events import Finish
from inference.types import FOREVER, ChatRequest, EmbedRequest, LoadRequest, Message, ModelSpec, Sampling

SPARE_S = 1.5
"""The engine starts its next spare worker a second after it has taken one."""
QUIET_SHARE = 0.05
QUIET_S = 0.3
SETTLE_DEADLINE_S = 30.0
T = TypeVar("T")


class EngineTarget:
    """A Target. `specs` by model name."""

    label = "through the engine"

    def __init__(self, subjects: Sequence[Subject], device: str) -> None:
        self._specs: dict[str, ModelSpec] = {subject.name: subject.spec for subject in subjects}
        self._embedder = embedder()
        self._device = device
        self._runner: asyncio.Runner | None = None
        self._engine: Engine | None = None

    def start(self, memory_budget_bytes: int = 0) -> None:
        self.stop()
        self._runner = asyncio.Runner(loop_factory=loop_factory())
        config = EngineConfig(
            device=self._device, memory_budget_bytes=memory_budget_bytes, keep_alive_s=FOREVER
        )
        self._engine = Engine(config)
        self._await(self._engine.start())

    def stop(self) -> None:
        runner, engine = self._runner, self._engine
        self._runner = self._engine = None
        if runner is not None and engine is not None:
            runner.run(_coroutine(engine.stop()))
            runner.close()

    def run(self, calls: Sequence[Call]) -> list[Trace]:
        async def together() -> list[Trace]:
            began = time.perf_counter()
            return await asyncio.gather(*(self._one(call, began) for call in calls))

        return self._await(together())

    def embed(self, calls: Sequence[EmbedCall]) -> list[EmbedTrace]:
        async def together() -> list[EmbedTrace]:
            began = time.perf_counter()
            return await asyncio.gather(*(self._vectors(call, began) for call in calls))

        return self._await(together())

    def load(self, model: str) -> float:
        began = time.perf_counter()
        try:
            self._await(
                self._ready().load(self._specs[model], LoadRequest(model=model, keep_alive_s=FOREVER))
            )
        except InferenceError as error:
            raise BenchError(f"'{model}' was not loaded: {error}") from None
        return time.perf_counter() - began

    def unload(self, model: str) -> None:
        self._await(self._ready().unload(self._specs[model]))

    def kill_worker(self, model: str) -> None:
        digest = self._specs[model].digest
        for loaded in self._ready().snapshot().models:
            if loaded.digest == digest:
                os.kill(loaded.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    def settle(self) -> None:
        self._await(_quiet(psutil.Process()))

    async def _one(self, call: Call, began: float) -> Trace:
        await asyncio.sleep(call.start_s)
        request = ChatRequest(
            model=call.model,
            messages=(Message(role="user", content=call.text),),
            sampling=Sampling(temperature=0.0, max_tokens=call.max_tokens),
            think=False,
            stream=True,
        )
        start_s = time.perf_counter() - began
        arrivals: list[float] = []
        finish: Finish | None = None
        try:
            async with aclosing(self._ready().generate(self._specs[call.model], request)) as batches:
                async for events in batches:
                    arrivals.append(time.perf_counter() - began)
                    if isinstance(events[-1], Finish):
                        finish = events[-1]
        except InferenceError as error:
            return Trace(start_s=start_s, arrivals=(), tokens=0, prompt_tokens=0, error=str(error))
        return Trace(
            start_s=start_s,
            arrivals=tuple(arrivals),
            tokens=finish.completion_tokens if finish else 0,
            prompt_tokens=finish.prompt_tokens if finish else 0,
        )

    async def _vectors(self, call: EmbedCall, began: float) -> EmbedTrace:
        request = EmbedRequest(model=self._embedder.name, texts=call.texts)
        start_s = time.perf_counter() - began
        try:
            made = await self._ready().embed(self._embedder, request)
        except InferenceError as error:
            return EmbedTrace(start_s=start_s, end_s=start_s, vectors=(), error=str(error))
        return EmbedTrace(start_s=start_s, end_s=time.perf_counter() - began, vectors=made.vectors)

    def _ready(self) -> Engine:
        if self._engine is None:
            self.start()
        assert self._engine is not None
        return self._engine

    def _await(self, work: Awaitable[T]) -> T:
        assert self._runner is not None
        return self._runner.run(_coroutine(work))


async def _coroutine(work: Awaitable[T]) -> T:
    return await work


async def _quiet(process: psutil.Process) -> None:
    await asyncio.sleep(SPARE_S)
    deadline = time.monotonic() + SETTLE_DEADLINE_S
    while time.monotonic() < deadline:
        before = cpu_seconds(process)
        await asyncio.sleep(QUIET_S)
        if cpu_seconds(process) - before < QUIET_SHARE * QUIET_S:
            return


def cpu_seconds(process: psutil.Process) -> float:
    """Of a process and what descends from it."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop that the server has: uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
