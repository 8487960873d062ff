"""What happens when a worker crashes, hangs or is fed poison: real processes, real signals."""

import asyncio
import os
import signal
from contextlib import aclosing

import psutil
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

from inference.engine import Engine
from inference.errors import (
    BreakerOpen,
    InferenceTimeout,
    InvalidGrammar,
    QueueFull,
    ShuttingDown,
    WorkerDied,
)
from inference.events import Event
from inference.types import Constraint, EmbedRequest, LoadRequest


def worker_pid(engine: Engine) -> int:
    (model,) = engine.snapshot().models
    return model.pid


@pytest.mark.parametrize("loopback", [False, True])
def test_a_killed_worker_ends_its_streams_and_the_next_request_is_answered(loopback: bool) -> None:
    async def scenario() -> None:
        async with running_engine(loopback_channel=loopback) as engine:
            seen: list[Event] = []
            killed: list[int] = []

            async def read_and_kill() -> None:
                async with aclosing(engine.generate(DEMO, babble(3000))) as batches:
                    async for events in batches:
                        seen.extend(events)
                        if len(seen) > 3 and not killed:
                            killed.append(worker_pid(engine))
                            os.kill(killed[0], signal.SIGKILL)

            with pytest.raises(WorkerDied):
                await read_and_kill()
            assert start_of(seen).route.executed == "CPU"
            assert text_of(await events_of(engine, DEMO, ask()))
            assert engine.snapshot().devices[0].running == 0

    run(scenario)


def test_a_worker_killed_while_idle_is_replaced_without_an_error() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            first = text_of(await events_of(engine, DEMO, ask()))
            os.kill(worker_pid(engine), signal.SIGKILL)
            await until(lambda: engine.snapshot().models == ())
            assert text_of(await events_of(engine, DEMO, ask())) == first

    run(scenario)


def test_a_request_that_meets_a_dead_worker_is_answered_by_a_fresh_one() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            os.kill(
                worker_pid(engine), signal.SIGKILL
            )  # and no turn of the loop in which its end could be seen
            assert text_of(await events_of(engine, DEMO, ask()))

    run(scenario)


def test_a_crash_loop_opens_the_breaker_and_time_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.breaker.OPEN_S", 1.0)

    async def scenario() -> None:
        async with running_engine() as engine:
            for _ in range(3):
                await engine.load(DEMO, LoadRequest(model="demo"))
                os.kill(worker_pid(engine), signal.SIGKILL)
                await until(lambda: engine.snapshot().models == ())
            with pytest.raises(BreakerOpen) as caught:
                await events_of(engine, DEMO, ask())
            assert 0 < caught.value.retry_after_s <= 1
            assert (await engine.embed(MINILM, EmbedRequest(model="m", texts=("still here",)))).vectors
            await asyncio.sleep(1.1)
            assert text_of(await events_of(engine, DEMO, ask()))

    run(scenario)


def test_a_stopped_worker_is_killed_at_the_deadline_and_replaced() -> None:
    async def scenario() -> None:
        async with running_engine(inference_timeout_s=1.0) as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            pid = worker_pid(engine)
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(InferenceTimeout, match="NPU_PROXY_INFERENCE_TIMEOUT"):
                await events_of(engine, DEMO, ask())
            await until(lambda: not psutil.pid_exists(pid))
            assert text_of(await events_of(engine, DEMO, ask()))

    run(scenario)


def test_silence_alone_kills_a_worker_where_the_timeout_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.process.SILENCE_S", 1.0)

    async def scenario() -> None:
        async with running_engine(inference_timeout_s=0.0) as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            hung = worker_pid(engine)
            os.kill(hung, signal.SIGSTOP)
            assert text_of(
                await events_of(engine, DEMO, ask())
            )  # by a fresh worker: the hung one said nothing
            assert worker_pid(engine) != hung
            assert not psutil.pid_exists(hung)

    run(scenario)


def test_a_stopped_worker_does_not_outlive_the_engine() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            pid = worker_pid(engine)
            os.kill(pid, signal.SIGSTOP)
        assert not psutil.pid_exists(pid)

    run(scenario)


@pytest.mark.parametrize(
    "schema",
    [
        '{"type": "string", "pattern": "([a-z]{1,900}){1,900}"}',
        '{"type": "string", "pattern": "(((("}',
        '{"type": "object", "properties": {"a": {"$ref": "#/definitions/nowhere"}}}',
    ],
)
def test_a_poisonous_grammar_is_refused_and_its_neighbours_do_not_notice(schema: str) -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            alone = text_of(await events_of(engine, DEMO, babble(300)))
            healthy = asyncio.create_task(events_of(engine, DEMO, babble(300)))
            with pytest.raises(InvalidGrammar):
                await events_of(engine, DEMO, ask(constraint=Constraint(schema)))
            assert text_of(await healthy) == alone
            assert text_of(await events_of(engine, DEMO, ask()))

    run(scenario)


def test_a_full_queue_refuses_and_a_draining_engine_too() -> None:
    async def scenario() -> None:
        async with running_engine(device="NPU", npu_emulation=True, max_queue=1, busy_wait_s=1e9) as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            npu = engine.snapshot().devices[0]
            assert (npu.id, npu.slots, npu.emulated) == ("NPU", 1, True)
            running = asyncio.create_task(events_of(engine, DEMO, babble(400)))
            await until(lambda: engine.snapshot().devices[0].running == 1)
            waiting = asyncio.create_task(events_of(engine, DEMO, ask()))
            await until(lambda: engine.snapshot().devices[0].waiting == 1)
            refused = await events_of(engine, DEMO, ask())
            assert start_of(refused).route.fallback_reason == "busy"
            assert start_of(refused).route.executed == "CPU"
            assert finish_of(await running).completion_tokens
            assert start_of(await waiting).route.executed == "NPU (emulated)"
            await engine.drain(5)
            with pytest.raises(ShuttingDown):
                await events_of(engine, DEMO, ask())

    run(scenario)


def test_a_full_queue_on_the_only_device_is_the_callers_to_retry() -> None:
    async def scenario() -> None:
        async with running_engine(max_queue=0) as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            crowd = [asyncio.create_task(events_of(engine, DEMO, babble(200, seed=n))) for n in range(40)]
            results = await asyncio.gather(*crowd, return_exceptions=True)
            refused = [result for result in results if isinstance(result, QueueFull)]
            assert len(refused) == 8
            assert all(error.retry_after_s >= 1 for error in refused)

    run(scenario)


def test_a_client_that_leaves_the_line_starts_nothing() -> None:
    async def scenario() -> None:
        async with running_engine(device="NPU", npu_emulation=True, busy_wait_s=1e9) as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            running = asyncio.create_task(events_of(engine, DEMO, babble(300)))
            await until(lambda: engine.snapshot().devices[0].running == 1)
            leaves = asyncio.create_task(events_of(engine, DEMO, ask()))
            await until(lambda: engine.snapshot().devices[0].waiting == 1)
            leaves.cancel()
            await until(lambda: engine.snapshot().devices[0].waiting == 0)
            await running
            assert engine.snapshot().devices[0].running == 0

    run(scenario)


def test_a_client_that_leaves_during_prefill_frees_its_slot() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            long = asyncio.create_task(events_of(engine, DEMO, ask("pull a model " * 900)))
            await until(lambda: engine.snapshot().devices[0].running == 1)
            long.cancel()
            await until(lambda: engine.snapshot().devices[0].running == 0, 2)

    run(scenario)
