"""Budgets of memory: all workers together, and each device's own; what cannot fit is refused with figures."""

import asyncio

import pytest
from engines import DEMO, ask, events_of, run, running_engine, start_of, text_of
from msgspec import structs

from inference.engine import Engine
from inference.errors import LoadFailed
from inference.types import FOREVER, LoadRequest, ModelSpec, Placement

ROOM_FOR_ONE = 400_000_000
ON_CPU, ON_NPU = (Placement(device=device, strict=True) for device in ("CPU", "NPU"))


def copy_of(letter: str) -> ModelSpec:
    return structs.replace(DEMO, name=f"{letter}:latest", digest=letter * 64)


def loaded(engine: Engine) -> set[tuple[str, str]]:
    return {(model.name, model.device) for model in engine.snapshot().models}


def test_a_device_s_own_budget_bounds_it_and_leaves_the_others_alone() -> None:
    async def scenario() -> None:
        async with running_engine(device="NPU", npu_emulation=True, npu_models=9) as engine:
            engine.follow({}, {"NPU": 350_000_000})
            await engine.load(copy_of("z"), LoadRequest(model="z", placement=ON_CPU))
            for letter in "abc":
                await engine.load(copy_of(letter), LoadRequest(model=letter, placement=ON_NPU))
            assert loaded(engine) == {("z:latest", "CPU"), ("b:latest", "NPU"), ("c:latest", "NPU")}

    run(scenario, 120)


def test_a_model_larger_than_a_device_s_budget_is_refused_there_with_figures_and_answers_elsewhere() -> None:
    async def scenario() -> None:
        async with running_engine(device="NPU", npu_emulation=True) as engine:
            engine.follow({}, {"NPU": 60_000_000})
            route = start_of(await events_of(engine, DEMO, ask())).route
            assert (route.requested, route.routed, route.fallback_reason) == ("NPU", "CPU", "load_failed")
            engine.follow({}, {"NPU": 60_000_000, "CPU": 50_000_000})
            await engine.unload(DEMO)
            with pytest.raises(LoadFailed, match=r"needs about 1\d\d MB, the budget of .PU allows [56]0 MB"):
                await events_of(engine, DEMO, ask())

    run(scenario, 120)


def test_a_device_s_budget_never_widens_the_budget_of_all() -> None:
    async def scenario() -> None:
        async with running_engine(memory_budget_bytes=50_000_000) as engine:
            engine.follow({}, {"CPU": 10_000_000_000})
            with pytest.raises(LoadFailed, match=r"NPU_PROXY_MEMORY_BUDGET allows 50 MB"):
                await events_of(engine, DEMO, ask())

    run(scenario)


def test_models_that_are_asked_for_at_once_never_exceed_the_budget_together() -> None:
    async def scenario() -> None:
        async with running_engine(memory_budget_bytes=ROOM_FOR_ONE) as engine:
            peaks: list[int] = []

            async def watch() -> None:
                while True:
                    snapshot = engine.snapshot()
                    peaks.append(snapshot.memory_used_bytes)
                    await asyncio.sleep(0.005)

            watching = asyncio.create_task(watch())
            answers = await asyncio.gather(
                *(events_of(engine, copy_of(letter), ask(keep_alive_s=FOREVER)) for letter in "abc")
            )
            watching.cancel()
            assert len({text_of(answer) for answer in answers}) == 1
            assert 0 < max(peaks) <= ROOM_FOR_ONE
            assert len(loaded(engine)) == 1

    run(scenario)


def test_an_npu_holds_one_language_model_and_swaps_it_without_a_restart() -> None:
    async def scenario() -> None:
        async with running_engine(device="NPU", npu_emulation=True) as engine:
            for letter in "ab":
                await engine.load(copy_of(letter), LoadRequest(model=letter, placement=ON_NPU))
                events = await events_of(engine, copy_of(letter), ask(placement=ON_NPU))
                assert start_of(events).route.executed == "NPU (emulated)"
                assert loaded(engine) == {(f"{letter}:latest", "NPU")}

    run(scenario, 120)
