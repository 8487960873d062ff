"""What was measured of a model on a backend: medians of real requests, and what must not spoil them."""

from __future__ import annotations

import pytest
from engines import DEMO, MINILM, ask, babble, events_of, run, running_engine
from msgspec import structs

from inference.prefix_memory import PrefixMemory
from inference.profiles import Generated, Profiles
from inference.types import EmbedRequest, Placement, Sampling


def answer(
    tokens: int = 100, seconds: float = 0.5, made: int = 11, decode_s: float = 1.0, **more: float
) -> Generated:
    given = {"read_tokens": tokens, "prompt_tokens": tokens, "prefill_s": seconds, "completion_tokens": made}
    return Generated(**{**given, "decode_s": decode_s, **more})  # type: ignore[arg-type]


def test_nothing_is_expected_before_three_requests() -> None:
    profiles = Profiles()
    for count in range(3):
        found = profiles.find(DEMO, "CPU")
        assert found is None or found.expected_s(100, 10) is None, f"after {count} requests"
        profiles.generated(DEMO, "CPU", answer())
    found = profiles.find(DEMO, "CPU")
    assert found is not None
    assert found.expected_s(100, 10) == pytest.approx(0.5 + 0.1 * 10)


@pytest.mark.parametrize(
    ("case", "spoilt"),
    [
        ("all of the prompt was in the cache", answer(seconds=0.001, read_tokens=1)),
        ("more than half of it was", answer(seconds=0.001, read_tokens=49)),
        ("the answer has one token", answer(made=1, decode_s=0.0)),
        ("a single slow one", answer(seconds=50.0, decode_s=100.0)),
    ],
)
def test_a_request_that_says_nothing_leaves_the_figures_as_they_are(case: str, spoilt: Generated) -> None:
    profiles = Profiles()
    for _ in range(3):
        profiles.generated(DEMO, "CPU", answer())
    profiles.generated(DEMO, "CPU", spoilt)
    found = profiles.find(DEMO, "CPU")
    assert found is not None
    assert found.expected_s(100, 10) == pytest.approx(1.5), case


def test_a_short_prompt_is_expected_to_take_what_short_prompts_took() -> None:
    """The static pipeline of an NPU reads ten tokens as long as a thousand."""
    profiles = Profiles()
    for _ in range(3):
        profiles.generated(DEMO, "NPU", answer(tokens=10, seconds=1.0))
        profiles.generated(DEMO, "NPU", answer(tokens=1000, seconds=1.0))
    found = profiles.find(DEMO, "NPU")
    assert found is not None
    assert found.expected_s(12, 0) == pytest.approx(1.2)
    assert found.expected_s(900, 0) == pytest.approx(0.9)


def test_an_answer_is_expected_to_be_as_long_as_the_last_fifty_were_and_no_longer_than_asked() -> None:
    profiles = Profiles()
    assert profiles.expected_output(DEMO, None) == 256
    for length in (900, 20, 30, 40):
        profiles.answered(DEMO, length)
    assert profiles.expected_output(DEMO, None) == 35
    assert profiles.expected_output(DEMO, 8) == 8
    assert profiles.expected_output(DEMO, 32_000) == 35
    for _ in range(50):
        profiles.answered(DEMO, 1000)
    assert profiles.expected_output(DEMO, -1) == 256


def test_a_model_that_was_replaced_starts_anew() -> None:
    profiles = Profiles()
    for _ in range(3):
        profiles.generated(DEMO, "CPU", answer())
    assert profiles.find(structs.replace(DEMO, digest="0" * 64), "CPU") is None


def test_profiles_outlive_a_restart_with_their_counts() -> None:
    before, after = Profiles(), Profiles()
    for seconds in (0.4, 0.5, 0.6):
        before.generated(DEMO, "CPU", answer(seconds=seconds, joules=22.0, watts=20.0))
        before.answered(DEMO, 12)
    before.loaded(DEMO, "CPU", 2.5)
    samples, lengths = before.take_changed()
    assert before.take_changed() == ((), {}), "what was taken is not taken again"
    after.restore(samples, lengths.items())
    assert after.of("CPU") == before.of("CPU")
    (measured,) = after.of("CPU")
    assert (measured.prefill_count, measured.load_s, measured.joules_per_token, measured.watts) == (
        3,
        2.5,
        2.0,
        20.0,
    )
    assert after.expected_output(DEMO, None) == 12
    before.not_kept(samples, lengths)
    assert before.take_changed() == (samples, lengths)


def test_what_a_worker_has_cached_is_known_by_whole_blocks() -> None:
    memory = PrefixMemory(4, blocks=3)
    assert memory.unread([1, 2, 3, 4, 5, 6, 7, 8, 9]) == 9
    assert memory.unread([1, 2, 3, 4, 5, 6, 7, 8, 9]) == 1
    assert memory.unread([1, 2, 3, 4, 5, 6, 7, 99]) == 4
    assert memory.unread([0, 2, 3, 4, 5, 6, 7, 8]) == 8
    assert memory.unread([1, 2, 3, 4, 5, 6, 7, 8, 9]) == 9, "the pool has room for three blocks"
    assert PrefixMemory(4, blocks=0).unread([1, 2, 3, 4]) == 4


def test_traffic_of_an_engine_makes_its_profile() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            for word in ("one", "two", "three"):
                await events_of(engine, DEMO, ask(f"{word} {'words of a prompt ' * 20}"))
            (measured,) = engine.profiles.of("CPU")
            assert measured.model == "demo:latest"
            assert (measured.prefill_count, measured.tpot_count, measured.load_count) == (3, 3, 1)
            assert measured.prefill_tokens_per_s
            assert measured.tpot_s
            assert measured.used
            await events_of(engine, DEMO, ask(f"one {'words of a prompt ' * 20}"))
            (again,) = engine.profiles.of("CPU")
            assert (again.prefill_count, again.tpot_count) == (3, 4), "its prompt was in the cache"
            one = Sampling(temperature=0.0, max_tokens=1)
            await events_of(engine, DEMO, ask(f"four {'words of a prompt ' * 20}", sampling=one))
            (short,) = engine.profiles.of("CPU")
            assert (short.prefill_count, short.tpot_count) == (4, 4), "one token has no TPOT"

    run(scenario)


def test_a_reader_that_leaves_says_nothing_of_the_length_of_answers() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            batches = engine.generate(DEMO, babble(2000))
            for _ in range(3):
                await anext(batches)
            await batches.aclose()
            assert engine.profiles.expected_output(DEMO, None) == 256
            assert engine.profiles.take_changed()[1] == {}

    run(scenario)


def test_texts_that_were_known_from_before_are_no_measure_of_a_device() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            for texts in (("a b c",), ("d e f",), ("g h i",), ("a b c", "d e f")):
                await engine.embed(MINILM, EmbedRequest(model="all-minilm", texts=texts))
            (measured,) = engine.profiles.of("CPU")
            assert measured.prefill_count == 3
            plain = EmbedRequest(model="all-minilm", texts=("a b c",), placement=Placement(cache=False))
            await engine.embed(MINILM, plain)
            assert engine.profiles.of("CPU")[0].prefill_count == 4

    run(scenario)


def test_an_answer_with_a_grammar_says_nothing_of_prefill() -> None:
    async def scenario() -> None:
        from inference.types import Constraint

        async with running_engine() as engine:
            schema = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
            bound = Sampling(temperature=0.0, max_tokens=24)
            await events_of(engine, DEMO, ask("give me a", constraint=Constraint(schema), sampling=bound))
            found = engine.profiles.of("CPU")
            assert [one.prefill_count for one in found] == [0]

    run(scenario)
