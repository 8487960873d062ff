"""Which models are in memory and for how long: real workers, copies of the built-in model under other digests."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from engines import (
    BUILTIN,
    DEMO,
    ask,
    babble,
    events_of,
    run,
    running_engine,
    spec_of,
    start_of,
    text_of,
    until,
)
from msgspec import structs

from inference import memory
from inference.errors import LoadFailed, ModelDamaged
from inference.types import FOREVER, LoadRequest, ModelSpec


def copy_of(spec: ModelSpec, letter: str) -> ModelSpec:
    """The same files as another model."""
    return structs.replace(spec, name=f"{letter}:latest", digest=letter * 64)


ROOM_FOR_ONE = 400_000_000
ROOM_FOR_TWO = 600_000_000
"""Of the built-in model, whose KV pool takes a quarter of the budget beside 125 MB."""


def test_a_model_is_loaded_once_for_all_who_ask_meanwhile() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            answers = await asyncio.gather(*(events_of(engine, DEMO, ask()) for _ in range(5)))
            assert len({text_of(answer) for answer in answers}) == 1
            assert [model.name for model in engine.snapshot().models] == ["demo:latest"]

    run(scenario)


def test_keep_alive_unloads_after_its_time_and_expires_at_says_when() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            before = time.time()
            await events_of(engine, DEMO, ask(keep_alive_s=0.4))
            (model,) = engine.snapshot().models
            assert model.expires_at is not None
            assert before + 0.4 <= model.expires_at <= time.time() + 0.4
            await until(lambda: engine.snapshot().models == ())
            assert time.time() >= model.expires_at

    run(scenario)


def test_expires_at_is_true_while_a_request_runs() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            await engine.load(DEMO, LoadRequest(model="demo", keep_alive_s=FOREVER))
            task = asyncio.create_task(events_of(engine, DEMO, babble(600, keep_alive_s=7.0)))
            await until(lambda: engine.snapshot().devices[0].running == 1)
            (model,) = engine.snapshot().models
            assert model.expires_at is not None
            assert time.time() + 6 < model.expires_at <= time.time() + 7
            await task

    run(scenario)


def test_keep_alive_zero_unloads_after_the_answer_and_forever_never() -> None:
    async def scenario() -> None:
        async with running_engine(keep_alive_s=0.2) as engine:
            await events_of(engine, DEMO, ask(keep_alive_s=0.0))
            await until(lambda: engine.snapshot().models == ())
            await events_of(engine, DEMO, ask(keep_alive_s=FOREVER))
            await asyncio.sleep(0.5)
            (model,) = engine.snapshot().models
            assert model.expires_at is None

    run(scenario)


def test_loading_and_unloading_on_request() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            loaded = await engine.load(DEMO, LoadRequest(model="demo"))
            assert (loaded.state, loaded.device, loaded.context_length) == ("ready", "CPU", 4096)
            assert start_of(await events_of(engine, DEMO, ask())).load_s < loaded.load_s
            assert await engine.unload(DEMO) is True
            assert engine.snapshot().models == ()
            assert await engine.unload(DEMO) is False

    run(scenario)


def test_several_models_stay_while_they_fit_and_the_least_recently_used_goes() -> None:
    async def scenario() -> None:
        a, b, c = (copy_of(DEMO, letter) for letter in "abc")
        async with running_engine(memory_budget_bytes=ROOM_FOR_TWO) as engine:
            for spec in (a, b, a):
                await events_of(engine, spec, ask())
            assert {model.name for model in engine.snapshot().models} == {"a:latest", "b:latest"}
            await events_of(engine, c, ask())
            snapshot = engine.snapshot()
            assert {model.name for model in snapshot.models} == {"a:latest", "c:latest"}
            assert snapshot.memory_used_bytes <= snapshot.memory_budget_bytes

    run(scenario)


def test_a_model_in_use_is_not_evicted_and_its_newcomer_waits() -> None:
    async def scenario() -> None:
        a, b = copy_of(DEMO, "a"), copy_of(DEMO, "b")
        async with running_engine(memory_budget_bytes=ROOM_FOR_ONE) as engine:
            await engine.load(a, LoadRequest(model="a"))
            long = asyncio.create_task(events_of(engine, a, babble(600)))
            await until(lambda: engine.snapshot().devices[0].running == 1)
            short = await events_of(engine, b, ask())
            assert long.done()
            assert text_of(await long)
            assert text_of(short)
            assert [model.name for model in engine.snapshot().models] == ["b:latest"]

    run(scenario)


def test_a_model_larger_than_the_budget_is_refused_with_figures() -> None:
    async def scenario() -> None:
        async with running_engine(memory_budget_bytes=50_000_000) as engine:
            with pytest.raises(LoadFailed, match=r"needs about 1\d\d MB.*allows 50 MB"):
                await events_of(engine, DEMO, ask())

    run(scenario)


@pytest.mark.parametrize("file", ["openvino_model.bin", "openvino_tokenizer.xml", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_file_is_named_and_nothing_else_is_affected(tmp_path: Path, file: str, damage: str) -> None:
    async def scenario() -> None:
        folder = shutil.copytree(BUILTIN / "demo", tmp_path / "broken")
        broken = structs.replace(spec_of(folder), digest="f" * 64)
        data = bytearray((folder / file).read_bytes())
        if damage == "missing":
            (folder / file).unlink()
        elif damage == "truncated":
            (folder / file).write_bytes(data[: len(data) // 2])
        else:
            data[len(data) // 2] ^= 1
            (folder / file).write_bytes(data)
        async with running_engine() as engine:
            await events_of(engine, DEMO, ask())
            with pytest.raises(ModelDamaged, match=file) as caught:
                await events_of(engine, broken, ask())
            assert str(tmp_path) not in str(caught.value)
            assert [model.name for model in engine.snapshot().models] == ["demo:latest"]
            assert text_of(await events_of(engine, DEMO, ask()))

    run(scenario)


def test_the_kv_pool_is_bounded_by_the_budget_and_bounds_the_prompt() -> None:
    tight = (
        memory.PROCESS_BYTES + int(DEMO.size_bytes * memory.WEIGHTS_FACTOR) + 1000 * DEMO.kv_bytes_per_token
    )
    plan = memory.plan(DEMO, "CPU", budget=tight, context=4096, max_prompt_len=4096)
    assert plan.kv_blocks == 31
    assert plan.limit_tokens == 31 * 32 - memory.SLACK_TOKENS
    assert plan.cost_bytes <= tight
    roomy = memory.plan(DEMO, "CPU", budget=tight * 50, context=4096, max_prompt_len=4096)
    assert (roomy.limit_tokens, roomy.kv_blocks) == (4096, memory.KV_TOKENS_WANTED // 32)
