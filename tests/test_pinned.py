"""Pinned models stay: no newcomer and no clock unloads them; a pin counts from the moment it is set."""

import asyncio

import pytest
from engines import DEMO, ask, events_of, run, running_engine, text_of, until
from msgspec import structs

from inference.engine import Engine
from inference.errors import LoadFailed
from inference.types import LoadRequest, ModelSpec, Placement

ROOM_FOR_ONE = 400_000_000
ROOM_FOR_TWO = 600_000_000
"""Of the built-in model, whose KV pool takes a quarter of the budget beside 125 MB."""


def copy_of(letter: str, *, pinned: bool = False) -> ModelSpec:
    return structs.replace(DEMO, name=f"{letter}:latest", digest=letter * 64, pinned=pinned)


def names(engine: Engine) -> set[str]:
    return {model.name for model in engine.snapshot().models}


def test_a_pinned_model_stays_though_it_was_used_before_all_others() -> None:
    async def scenario() -> None:
        async with running_engine(memory_budget_bytes=ROOM_FOR_TWO) as engine:
            for spec in (copy_of("a", pinned=True), copy_of("b"), copy_of("c")):
                await events_of(engine, spec, ask())
            assert names(engine) == {"a:latest", "c:latest"}

    run(scenario)


def test_a_newcomer_that_only_pinned_models_keep_out_is_refused_with_figures_and_let_in_after_the_pin() -> (
    None
):
    async def scenario() -> None:
        a, b = copy_of("a", pinned=True), copy_of("b")
        async with running_engine(memory_budget_bytes=ROOM_FOR_ONE) as engine:
            await events_of(engine, a, ask())
            expected = r"'b:latest' needs about 2\d\d MB on CPU.*allows 400 MB.*2\d\d MB.*\('a:latest'\)"
            with pytest.raises(LoadFailed, match=expected):
                await events_of(engine, b, ask())
            assert names(engine) == {"a:latest"}
            engine.follow({"a:latest": copy_of("a")}, {})
            assert text_of(await events_of(engine, b, ask()))
            assert names(engine) == {"b:latest"}

    run(scenario)


def test_the_clock_of_a_pinned_model_stands_until_it_is_unpinned() -> None:
    async def scenario() -> None:
        a = copy_of("a", pinned=True)
        async with running_engine() as engine:
            await events_of(engine, a, ask(keep_alive_s=0.05))
            await asyncio.sleep(0.3)
            (model,) = engine.snapshot().models
            assert (model.name, model.pinned, model.expires_at) == ("a:latest", True, None)
            engine.follow({"a:latest": copy_of("a")}, {})
            await until(lambda: engine.snapshot().models == ())

    run(scenario)


def test_a_pin_that_comes_after_the_load_stops_the_clock() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            await engine.load(copy_of("a"), LoadRequest(model="a", keep_alive_s=0.4))
            engine.follow({"a:latest": copy_of("a", pinned=True)}, {})
            await asyncio.sleep(0.7)
            assert names(engine) == {"a:latest"}

    run(scenario)


def test_a_pinned_model_goes_when_it_is_asked_to() -> None:
    async def scenario() -> None:
        a = copy_of("a", pinned=True)
        async with running_engine() as engine:
            await events_of(engine, a, ask())
            assert await engine.unload(a) is True
            assert names(engine) == set()

    run(scenario)


def test_names_that_differ_in_system_template_or_parameters_share_a_worker() -> None:
    async def scenario() -> None:
        pirate = structs.replace(DEMO, name="pirate:latest", system="You are a pirate.", context_length=256)
        full = structs.replace(DEMO, full_context_length=DEMO.context_length)
        pirate = structs.replace(pirate, full_context_length=DEMO.context_length)
        async with running_engine() as engine:
            await events_of(engine, pirate, ask())
            assert (await engine.load(full, LoadRequest(model="demo"))).context_length == 4096
            assert text_of(await events_of(engine, full, ask("pull a model " * 80)))
            (model,) = engine.snapshot().models
            assert model.names == ("demo:latest", "pirate:latest")
            assert await engine.unload(pirate) is True
            assert names(engine) == set()

    run(scenario)


def test_a_pin_of_one_name_keeps_the_worker_of_all_and_ends_with_its_row() -> None:
    async def scenario() -> None:
        plain, pinned = copy_of("a"), structs.replace(copy_of("a", pinned=True), name="kept:latest")
        async with running_engine() as engine:
            await events_of(engine, pinned, ask())
            await events_of(engine, plain, ask(keep_alive_s=0.05))
            await asyncio.sleep(0.3)
            assert names(engine) == {"a:latest"}
            engine.follow({"a:latest": plain}, {})  # the other row was deleted
            await until(lambda: engine.snapshot().models == ())

    run(scenario)


def test_exact_loading_and_adapters_need_workers_of_their_own() -> None:
    from pathlib import Path

    from inference.types import Adapter

    plain = structs.replace(DEMO, exact=False)
    lora = Adapter(path=Path("a"), sha256="1" * 64)
    specs = [
        plain,
        structs.replace(plain, exact=True),
        structs.replace(plain, adapters=(lora,)),
        structs.replace(plain, adapters=(structs.replace(lora, alpha=0.5),)),
        structs.replace(plain, adapters=(structs.replace(lora, sha256="2" * 64),)),
    ]
    assert len({spec.load_key for spec in specs}) == len(specs)
    assert structs.replace(plain, name="x", system="s", template="t", pinned=True).load_key == plain.load_key


def test_a_pinned_model_on_the_npu_sends_others_to_the_cpu() -> None:
    async def scenario() -> None:
        on_npu = LoadRequest(model="a", placement=Placement(device="NPU", strict=True))
        async with running_engine(device="NPU", npu_emulation=True) as engine:
            await engine.load(copy_of("a", pinned=True), on_npu)
            await events_of(engine, copy_of("b"), ask())
            assert {(model.name, model.device) for model in engine.snapshot().models} == {
                ("a:latest", "NPU"),
                ("b:latest", "CPU"),
            }
            with pytest.raises(LoadFailed, match=r"NPU_PROXY_NPU_MODELS allows 1 on NPU.*'a:latest'.*unpin"):
                await engine.load(copy_of("b"), on_npu)

    run(scenario, 120)
