"""The rest of another server's answer on its short way: the same events in their order, held back by who does not read,
and every end that an answer can have."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import odd_upstream
import pytest
import test_remote_failures
from engines import events_of, finish_of, text_of
from test_remote_failures import chat, passed_bytes, scenario, server

from inference.engine import Engine
from inference.errors import RemoteFailed
from inference.events import Event, Start
from inference.relay import Relay
from inference.types import ChatRequest, ModelSpec

upstream = test_remote_failures.upstream
both = pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])


class Taker:
    """The end of the way. `reads`: whether it can take the next part at once."""

    def __init__(self, reads: bool) -> None:
        self._reads = reads
        self.taken: list[Event] = []
        self.waited = 0

    def take(self, events: list[Event]) -> bool:
        self.taken += events
        return self._reads

    async def writable(self) -> None:
        self.waited += 1
        await asyncio.sleep(0.03)

    async def all_of(self, engine: Engine, model: ModelSpec, request: ChatRequest) -> list[Event]:
        """By the generator the first and the last, by the relay what is between."""
        events: list[Event] = []
        relay: Relay | None = None
        async with aclosing(engine.generate(model, request)) as batches:
            async for batch in batches:
                events += batch
                if isinstance(batch[0], Start):
                    relay = batch[0].relay
                elif relay is not None:
                    await relay.into(self.take, self.writable)
                    events += self.taken
                    relay = None
        return events


def said(events: list[Event], passed: bool) -> str:
    return passed_bytes(events).decode() if passed else text_of(events)


@both
@pytest.mark.parametrize("reads", [True, False], ids=["who-reads", "who-is-waited-for"])
def test_tokens_come_in_their_order_and_the_generator_has_the_end(
    upstream: odd_upstream.Upstream, passed: bool, reads: bool
) -> None:
    @scenario(server(upstream, "apart"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        expected = said(await events_of(engine, model, chat(passed=passed)), passed)
        for _ in range(2):  # also over a connection that was used before
            taker = Taker(reads)
            events = await taker.all_of(engine, model, chat(passed=passed))
            assert said(events, passed) == expected
            assert finish_of(events).completion_tokens == 3
            assert len(taker.taken) >= 2
            assert (taker.waited > 0) is not reads


@both
@pytest.mark.parametrize(
    ("mode", "words"),
    [("cut", "before it was complete|not JSON"), ("breaks", "the card is gone"), ("stalls", "nothing came")],
)
def test_an_answer_that_breaks_is_the_generators_error(
    upstream: odd_upstream.Upstream, mode: str, words: str, passed: bool
) -> None:
    @scenario(server(upstream, mode))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(RemoteFailed, match=words):
            await Taker(True).all_of(engine, model, chat(passed=passed))
        assert engine.remotes.backends[mode].queue.running == 0


@both
def test_all_that_came_before_anybody_listened_is_taken(
    upstream: odd_upstream.Upstream, passed: bool
) -> None:
    @scenario(server(upstream, "good"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        events = await Taker(False).all_of(engine, model, chat(passed=passed))
        assert finish_of(events).completion_tokens == 3


def test_who_leaves_in_mid_stream_ends_the_answer_there(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "forever"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        taker = Taker(True)
        asking = asyncio.create_task(taker.all_of(engine, model, chat()))
        async with asyncio.timeout(30):
            while len(taker.taken) < 3:
                await asyncio.sleep(0.01)
            asking.cancel()
            while not any(one["path"] == "/forever/closed" for one in upstream.seen()):
                await asyncio.sleep(0.05)
        assert engine.remotes.backends["forever"].queue.running == 0


def test_a_fault_of_the_taker_is_its_own(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "forever"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        class Broken(Taker):
            def take(self, events: list[Event]) -> bool:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await Broken(True).all_of(engine, model, chat())
