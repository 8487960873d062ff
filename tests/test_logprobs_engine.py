"""Log probabilities of a real worker beside a plain forward pass of the same model."""

from __future__ import annotations

import asyncio
from functools import cache

import numpy
import openvino
import pytest
from engines import DEMO, ask, babble, events_of, run, running_engine, text_of
from numpy.typing import NDArray

from inference.engine import Engine
from inference.events import Event, TextDelta
from inference.shown_token import Token
from inference.types import ChatRequest, Sampling

TOKENS = 12


def tokens_of(events: list[Event]) -> list[Token]:
    return [token for event in events if isinstance(event, TextDelta) for token in event.tokens]


@cache
def model() -> openvino.CompiledModel:
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    return openvino.Core().compile_model(str(DEMO.path / "openvino_model.xml"), "CPU", exact)


def forward(ids: list[int]) -> NDArray[numpy.float64]:
    """Log probabilities of every next token at every place: softmax of what the model itself gives."""
    row = numpy.array([ids], dtype=numpy.int64)
    inputs = {
        "input_ids": row,
        "attention_mask": numpy.ones_like(row),
        "position_ids": numpy.arange(len(ids))[None],
        "beam_idx": numpy.zeros(1, dtype=numpy.int32),
    }
    request = model().create_infer_request()  # each begins without a past
    logits = numpy.array(request.infer(inputs)[model().output("logits")])[0].astype(numpy.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    result: NDArray[numpy.float64] = logits - numpy.log(numpy.exp(logits).sum(axis=-1, keepdims=True))
    return result


async def expected(engine: Engine, request: ChatRequest, tokens: list[Token]) -> list[float]:
    """Of these tokens behind the request's prompt."""
    codec = (await engine.texts.get(DEMO)).codec
    ids = {codec.bytes.of(id): id for id in reversed(range(codec.vocab_size))}
    answer = [ids[token.spelled] for token in tokens]
    prompt = await engine.prompt_ids(DEMO, request)
    table = forward(prompt + answer)
    return [float(table[len(prompt) - 1 + place, id]) for place, id in enumerate(answer)]


def test_they_are_those_of_the_model_itself_whatever_chose_the_token() -> None:
    """Temperature, filters and penalties change which token it is, never its figure."""
    ways = {
        "greedy": Sampling(temperature=0.0),
        "cool": Sampling(temperature=0.5, seed=3, top_p=1.0, top_k=0),
        "hot": Sampling(temperature=1.6, seed=5, top_p=1.0, top_k=0),
        "filtered": Sampling(temperature=1.0, seed=3, top_p=0.3, top_k=2),
        "penalties": Sampling(
            temperature=0.0, repeat_penalty=1.8, presence_penalty=1.5, frequency_penalty=1.5
        ),
    }

    async def scenario() -> None:
        async with running_engine() as engine:
            for name, sampling in ways.items():
                request = ask(sampling=Sampling(max_tokens=TOKENS).over(sampling), logprobs=True)
                tokens = tokens_of(await events_of(engine, DEMO, request))
                given = [token.logprob for token in tokens]
                assert len(given) >= 8, name
                assert given == pytest.approx(await expected(engine, request, tokens), abs=1e-3), name

    run(scenario)


def test_a_request_that_asks_gets_the_same_text_and_its_neighbours_get_none() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            plain = await events_of(engine, DEMO, ask())
            answers = await asyncio.gather(
                *(events_of(engine, DEMO, ask(logprobs=number % 2 == 0)) for number in range(6)),
                events_of(engine, DEMO, babble(200, logprobs=True)),
            )
            assert {text_of(answer) for answer in answers[:6]} == {text_of(plain)}
            for number, answer in enumerate(answers[:6]):
                assert bool(tokens_of(answer)) == (number % 2 == 0)
            long = tokens_of(answers[6])
            assert len(long) > 100
            assert all(token.logprob < 0 for token in long)

    run(scenario)


def test_one_that_left_takes_nothing_of_the_next_ones() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            stream = engine.generate(DEMO, babble(2000, logprobs=True))
            await anext(stream)
            await anext(stream)
            await stream.aclose()
            first = tokens_of(await events_of(engine, DEMO, ask(logprobs=True)))
            again = tokens_of(await events_of(engine, DEMO, ask(logprobs=True)))
            assert [token.spelled for token in first] == [token.spelled for token in again]
            assert [t.logprob for t in first] == pytest.approx([t.logprob for t in again], abs=1e-3)

    run(scenario)
