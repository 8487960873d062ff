"""Answers that come at the same time: their order, their errors, and a reader who goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from compat_api.several import merged
from inference.errors import WorkerDied
from inference.events import Event, TextDelta

Batches = AsyncGenerator[list[Event], None]


async def answer(letter: str, batches: int, ended: list[str], fails: bool = False) -> Batches:
    try:
        for number in range(batches):
            await asyncio.sleep(0)
            yield [TextDelta(f"{letter}{number}")]
        if fails:
            raise WorkerDied("gone")
    finally:
        ended.append(letter)


def test_all_batches_come_in_the_order_of_their_answer() -> None:
    async def read() -> list[tuple[int, list[Event]]]:
        return [entry async for entry in merged([answer("a", 9, []), answer("b", 3, [])])]

    entries = asyncio.run(read())
    for index, letter, count in ((0, "a", 9), (1, "b", 3)):
        texts = [batch for place, batch in entries if place == index]
        assert texts == [[TextDelta(f"{letter}{number}")] for number in range(count)]


def test_one_error_ends_the_others_and_is_raised_itself() -> None:
    ended: list[str] = []

    async def read() -> None:
        async for _ in merged([answer("a", 10**6, ended), answer("b", 2, ended, fails=True)]):
            pass

    with pytest.raises(WorkerDied):
        asyncio.run(asyncio.wait_for(read(), 30))
    assert sorted(ended) == ["a", "b"]


def test_a_reader_who_goes_while_answers_wait_for_him_ends_them() -> None:
    ended: list[str] = []

    async def read() -> None:
        entries = merged([answer("a", 10**6, ended), answer("b", 10**6, ended)])
        await anext(entries)
        await asyncio.sleep(0.05)  # until no more batches may wait
        await entries.aclose()

    asyncio.run(asyncio.wait_for(read(), 30))
    assert sorted(ended) == ["a", "b"]
