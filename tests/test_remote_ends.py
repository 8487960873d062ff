"""How answers of other servers end: at the end of their stream, whatever comes after it."""

from __future__ import annotations

import asyncio

import odd_upstream
import pytest
import test_remote_failures
from engines import events_of, finish_of
from test_remote_failures import chat, scenario, server

from inference.engine import Engine
from inference.types import ModelSpec

upstream = test_remote_failures.upstream


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
def test_a_server_that_goes_on_after_the_end_keeps_nobody_waiting(
    upstream: odd_upstream.Upstream, passed: bool
) -> None:
    @scenario(server(upstream, "after", slots=1))
    async def _(engine: Engine, model: ModelSpec) -> None:
        async with asyncio.timeout(5):  # a request after the other, by the one slot, each ended by its [DONE]
            for _ in range(3):
                events = await events_of(engine, model, chat(passed=passed))
                assert finish_of(events).completion_tokens == 3


def test_tokens_that_came_in_one_read_tell_no_rate(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "good"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        for _ in range(4):
            finish = finish_of(await events_of(engine, model, chat()))
            assert finish.decode_s == 0.0
        profile = engine.profiles.find(model, "good")
        assert profile is None or profile.tpot_s.count == 0
