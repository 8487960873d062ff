"""Two devices, one of them slow to load: the real static pipeline of an NPU, emulated on the CPU."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from engines import (
    DEMO,
    MINILM,
    ask,
    babble,
    events_of,
    finish_of,
    run,
    running_engine,
    start_of,
    text_of,
    until,
)
from msgspec import structs

from inference.engine import Engine
from inference.errors import ContextLengthExceeded, DeviceUnavailable
from inference.route_facts import Route
from inference.types import EmbedRequest, LoadRequest, Placement


@asynccontextmanager
async def npu_engine(**config: Any) -> AsyncIterator[Engine]:
    async with running_engine(device="NPU", npu_emulation=True, **config) as engine:
        yield engine


async def route_of(engine: Engine, **changes: Any) -> Route:
    return start_of(await events_of(engine, DEMO, ask(**changes))).route


def ready_on(engine: Engine, device: str) -> bool:
    return any(model.device == device and model.state == "ready" for model in engine.snapshot().models)


def test_nobody_waits_behind_a_compile_while_another_device_can_answer() -> None:
    async def scenario() -> None:
        async with npu_engine() as engine:
            first = await route_of(engine)
            assert (first.requested, first.routed, first.executed) == ("NPU", "CPU", "CPU")
            assert first.reason == first.fallback_reason == "compiling"
            await until(lambda: ready_on(engine, "NPU"), 60)
            later = await route_of(engine)
            assert (later.routed, later.executed, later.reason) == (
                "NPU",
                "NPU (emulated)",
                "within_npu_limit",
            )
            assert not later.fell_back

    run(scenario, 120)


def test_the_npu_gives_the_same_text_as_the_cpu() -> None:
    async def scenario() -> None:
        async with npu_engine() as engine:
            await engine.load(DEMO, LoadRequest(model="demo", placement=Placement(device="NPU")))
            on_npu = await events_of(engine, DEMO, ask(placement=Placement(device="NPU")))
            on_cpu = await events_of(engine, DEMO, ask(placement=Placement(device="CPU")))
            assert start_of(on_npu).route.executed == "NPU (emulated)"
            assert start_of(on_cpu).route.executed == "CPU"
            assert text_of(on_npu) == text_of(on_cpu)
            assert finish_of(on_npu).reason == finish_of(on_cpu).reason == "stop"

    run(scenario, 120)


def test_a_prompt_over_the_npus_limit_goes_where_it_fits() -> None:
    async def scenario() -> None:
        async with npu_engine(token_limit=60) as engine:
            await engine.load(DEMO, LoadRequest(model="demo", placement=Placement(device="NPU")))
            assert (await route_of(engine)).routed == "NPU"
            route = start_of(await events_of(engine, DEMO, ask("pull a model " * 40))).route
            assert (route.requested, route.routed) == ("NPU", "CPU")
            assert route.reason == route.fallback_reason == "prompt_exceeds_npu_limit"
            with pytest.raises(ContextLengthExceeded):
                await events_of(engine, DEMO, ask("pull a model " * 3000))

    run(scenario, 120)


def test_a_device_that_refuses_the_model_is_passed_over_and_remembered() -> None:
    async def scenario() -> None:
        # The model has 512 positions: the fixed shapes of an NPU do not compile for 1,024, the CPU's do not matter.
        too_long = structs.replace(MINILM, digest="e" * 64, context_length=1024)
        async with npu_engine(embedding_device="NPU", busy_wait_s=1e9) as engine:
            for _ in range(2):
                start = (await engine.embed(too_long, EmbedRequest(model="m", texts=("a cat sat",)))).start
                assert (start.route.requested, start.route.routed) == ("NPU", "CPU")
                assert start.route.fallback_reason == "load_failed"
            strict = Placement(device="NPU", strict=True)
            with pytest.raises(DeviceUnavailable, match="load failed"):
                await engine.embed(too_long, EmbedRequest(model="m", texts=("a",), placement=strict))

    run(scenario, 120)


def test_an_answer_on_the_npu_can_be_left_within_a_token() -> None:
    async def scenario() -> None:
        async with npu_engine() as engine:
            await engine.load(DEMO, LoadRequest(model="demo", placement=Placement(device="NPU")))
            request = babble(400, placement=Placement(device="NPU"))
            task = asyncio.create_task(events_of(engine, DEMO, request))
            worker = engine._pool.held()[0].worker
            assert worker is not None
            await until(lambda: bool(worker._runs), 30)
            (answer,) = worker._runs.values()
            await until(lambda: answer.first_token_at is not None, 30)
            task.cancel()
            await until(lambda: engine.snapshot().devices[0].running == 0, 30)
            assert answer.finish == "cancelled"

    run(scenario, 120)


def test_embeddings_on_the_npu_are_those_of_the_cpu() -> None:
    async def scenario() -> None:
        from array import array

        vectors = []
        for device in ("CPU", "NPU"):
            async with npu_engine(embedding_device=device) as engine:
                texts = ("a cat sat", "", *(" ".join(["two dogs"] * n) for n in (28, 30, 31, 40, 127, 300)))
                request = EmbedRequest(model="m", texts=texts, placement=Placement(device=device))
                embedded = await engine.embed(MINILM, request)
                assert embedded.start.route.routed == device
                vectors.append([array("f", vector) for vector in embedded.vectors])
        for cpu, npu in zip(*vectors, strict=True):
            assert sum(a * b for a, b in zip(cpu, npu, strict=True)) > 0.999

    run(scenario, 120)
