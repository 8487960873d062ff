"""Generation through the engine: real workers, the built-in model, no HTTP."""

import asyncio
from contextlib import aclosing

import pytest
from engines import (
    DEMO,
    GREEDY,
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
from inference.errors import BadRequest, CapabilityMissing, ContextLengthExceeded, DeviceUnavailable
from inference.types import EmbedRequest, Message, Placement, Sampling


def test_an_answer_begins_with_start_and_ends_with_finish() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            events = await events_of(engine, DEMO, ask())
            start, finish = start_of(events), finish_of(events)
            assert (start.route.requested, start.route.routed, start.route.executed) == ("CPU", "CPU", "CPU")
            assert start.prompt_tokens == len(await engine.prompt_ids(DEMO, ask()))
            assert text_of(events).strip()
            assert finish.reason == "stop"
            assert finish.completion_tokens > 0
            assert 0 < finish.prefill_s < finish.total_s

    run(scenario)


def test_an_absent_device_falls_back_and_says_so() -> None:
    async def scenario() -> None:
        async with running_engine(device="NPU") as engine:
            route = start_of(await events_of(engine, DEMO, ask())).route
            assert (route.requested, route.routed, route.executed) == ("NPU", "CPU", "CPU")
            assert route.reason == route.fallback_reason == "device_unavailable"
            with pytest.raises(DeviceUnavailable):
                await events_of(engine, DEMO, ask(placement=Placement(device="GPU", strict=True)))

    run(scenario)


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            first, again, other = [
                text_of(await events_of(engine, DEMO, babble(40, seed=seed))) for seed in (7, 7, 8)
            ]
            assert first == again != other
            free = Sampling(temperature=1000.0, top_k=0, top_p=1.0, max_tokens=40)
            texts = {text_of(await events_of(engine, DEMO, ask(sampling=free))) for _ in range(3)}
            assert len(texts) == 3

    run(scenario)


def test_text_does_not_depend_on_the_neighbours_in_the_batch() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            alone = text_of(await events_of(engine, DEMO, ask()))
            crowd = await asyncio.gather(
                *(events_of(engine, DEMO, babble(60, seed=seed)) for seed in range(6)),
                events_of(engine, DEMO, ask()),
            )
            assert text_of(crowd[-1]) == alone

    run(scenario)


def test_max_tokens_ends_with_length() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            finish = finish_of(await events_of(engine, DEMO, babble(5)))
            assert (finish.reason, finish.completion_tokens) == ("length", 5)

    run(scenario)


def test_a_stop_string_ends_the_answer_and_never_shows() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            whole = text_of(await events_of(engine, DEMO, ask()))
            stop = whole[len(whole) // 2 :][:3]
            events = await events_of(engine, DEMO, ask(sampling=structs.replace(GREEDY, stop=(stop,))))
            assert text_of(events) == whole[: whole.index(stop)]
            assert (finish_of(events).reason, finish_of(events).stop_sequence) == ("stop", stop)
            await until(lambda: engine.snapshot().devices[0].running == 0)

    run(scenario)


def test_a_prompt_over_the_context_is_refused_with_both_numbers() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            long = ask("pull a model " * 3000)
            with pytest.raises(ContextLengthExceeded) as caught:
                await events_of(engine, DEMO, long)
            assert caught.value.prompt_tokens == len(await engine.prompt_ids(DEMO, long))
            assert caught.value.limit == 4096
            with pytest.raises(ContextLengthExceeded, match="has at least") as caught:
                await events_of(engine, DEMO, ask("x" * 5_000_000))
            assert caught.value.prompt_tokens > 4096
            with pytest.raises(ContextLengthExceeded) as caught:
                await events_of(engine, DEMO, ask(num_ctx=10))
            assert caught.value.limit == 10

    run(scenario)


def test_num_ctx_bounds_the_answer_too() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            prompt = len(await engine.prompt_ids(DEMO, ask()))
            finish = finish_of(await events_of(engine, DEMO, babble(500, num_ctx=prompt + 20)))
            assert (finish.reason, finish.completion_tokens) == ("length", 20)

    run(scenario)


def test_truncation_drops_the_oldest_messages_and_counts_them() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            old = tuple(Message(role="user", content="an old question " * 400) for _ in range(6))
            messages = (
                Message(role="system", content="Be brief."),
                *old,
                Message(role="user", content="What now?"),
            )
            with pytest.raises(ContextLengthExceeded):
                await events_of(engine, DEMO, ask(messages=messages))
            events = await events_of(engine, DEMO, ask(messages=messages, truncate=True))
            assert 0 < start_of(events).truncated_messages <= 6
            assert start_of(events).prompt_tokens < 4096

    run(scenario)


def test_what_a_model_cannot_do_is_refused_before_it_is_loaded() -> None:
    async def scenario() -> None:
        plain = structs.replace(DEMO, capabilities=frozenset({"completion"}))
        async with running_engine() as engine:
            with pytest.raises(CapabilityMissing, match='"demo" does not support thinking'):
                await events_of(engine, plain, ask(think=True))
            with pytest.raises(CapabilityMissing, match="does not support chat"):
                await events_of(engine, MINILM, ask())
            with pytest.raises(CapabilityMissing, match="does not support embeddings"):
                await engine.embed(DEMO, EmbedRequest(model="demo", texts=("a",)))
            with pytest.raises(BadRequest, match="unknown device or backend 'TOASTER'"):
                await events_of(engine, DEMO, ask(placement=Placement(device="TOASTER")))
            assert engine.snapshot().models == ()

    run(scenario)


def test_a_reader_that_leaves_frees_the_slot_within_a_step() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            async with aclosing(engine.generate(DEMO, babble(3000))) as batches:
                async for _ in batches:
                    break
            await until(lambda: engine.snapshot().devices[0].running == 0, 1)

    run(scenario)


def test_a_reader_that_waits_holds_no_slot() -> None:
    async def scenario() -> None:
        async with running_engine() as engine, aclosing(engine.generate(DEMO, ask())) as batches:
            async for _ in batches:
                break
            await until(lambda: engine.snapshot().devices[0].running == 0)
            assert [event async for batch in batches for event in batch]

    run(scenario)


def test_embeddings_come_in_the_order_of_the_texts_and_are_unit_vectors() -> None:
    async def scenario() -> None:
        from array import array

        async with running_engine() as engine:
            texts = ("a cat", "x" * 400, "ein Hund", "", "a cat")
            embedded = await engine.embed(MINILM, EmbedRequest(model="all-minilm", texts=texts))
            vectors = [array("f", vector) for vector in embedded.vectors]
            assert [len(vector) for vector in vectors] == [384] * 5
            assert all(abs(sum(x * x for x in vector) - 1) < 1e-4 for vector in vectors)
            same = sum(a * b for a, b in zip(vectors[0], vectors[4], strict=True))
            other = sum(a * b for a, b in zip(vectors[0], vectors[2], strict=True))
            assert same > 0.9999 > other
            none = await engine.embed(MINILM, EmbedRequest(model="all-minilm", texts=()))
            assert none.vectors == ()

    run(scenario)


def test_concurrent_embeddings_are_not_mixed_up() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            words = [f"word number {n} " * (n % 7 + 1) for n in range(24)]
            alone = [
                (await engine.embed(MINILM, EmbedRequest(model="m", texts=(word,)))).vectors[0]
                for word in words[:4]
            ]
            all_at_once = await asyncio.gather(
                *(engine.embed(MINILM, EmbedRequest(model="m", texts=(word,))) for word in words)
            )
            from array import array

            for before, after in zip(alone, all_at_once, strict=False):
                a, b = array("f", before), array("f", after.vectors[0])
                assert sum(x * y for x, y in zip(a, b, strict=True)) > 0.999

    run(scenario)


def test_an_embedding_text_over_the_limit_is_cut_or_refused_as_asked() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            long = EmbedRequest(model="all-minilm", texts=("word " * 600,))
            cut = await engine.embed(MINILM, long)
            assert (cut.truncated_tokens, cut.prompt_tokens) == (602 - 256, 256)
            with pytest.raises(ContextLengthExceeded):
                await engine.embed(MINILM, structs.replace(long, truncate=False))

    run(scenario)


def test_num_ctx_cuts_an_embedding_text_at_its_token() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
            short = EmbedRequest(model="all-minilm", texts=(" ".join(words),), num_ctx=5)
            cut = await engine.embed(MINILM, short)
            (same,) = [count for count in range(1, 7) if await tokens(engine, words[:count]) == 5]
            whole = await engine.embed(MINILM, EmbedRequest(model="m", texts=(" ".join(words[:same]),)))
            assert cut.vectors == whole.vectors
            assert cut.prompt_tokens == 5
            with pytest.raises(ContextLengthExceeded):
                await engine.embed(MINILM, structs.replace(short, truncate=False))

    async def tokens(engine: Engine, words: list[str]) -> int:
        request = EmbedRequest(model="all-minilm", texts=(" ".join(words),))
        return (await engine.embed(MINILM, request)).prompt_tokens

    run(scenario)
