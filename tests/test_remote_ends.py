"""How answers of other servers end: at the end of their stream, whatever comes after it; at a deadline; or before they
began, and then a request goes out again where it cannot have run."""

from __future__ import annotations

import asyncio

import odd_upstream
import pytest
import test_remote_failures
from engines import events_of, finish_of
from msgspec import structs
from test_remote_failures import chat, scenario, server

from inference.engine import Engine
from inference.errors import DeadlineExceeded, RemoteFailed
from inference.events import Start
from inference.route_facts import NO_LIMIT
from inference.types import ModelSpec, Placement

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


def test_a_prompt_that_is_counted_here_is_bounded_by_the_context_of_the_model_here(
    upstream: odd_upstream.Upstream,
) -> None:
    """The server's list says nothing of its context."""

    @scenario(server(upstream, "good"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        installed = structs.replace(model, remote=False, context_length=512)
        (known,), (unknown,) = (engine.remotes.candidates(one, chat()) for one in (installed, model))
        assert (known.limit_tokens, unknown.limit_tokens) == (512, NO_LIMIT)


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
def test_a_prompt_that_is_too_long_for_one_server_goes_to_the_next(
    upstream: odd_upstream.Upstream, passed: bool
) -> None:
    @scenario(server(upstream, "long", priority=9), server(upstream, "good", priority=1))
    async def _(engine: Engine, model: ModelSpec) -> None:
        events = await events_of(engine, model, chat(passed=passed))
        route = [event for event in events if isinstance(event, Start)][-1].route
        assert (route.routed, route.fallback_reason) == ("good", "capability")


def _posts(upstream: odd_upstream.Upstream, mode: str) -> int:
    return len([one for one in upstream.seen() if one["path"] == f"/{mode}/v1/chat/completions"])


def test_a_request_over_a_fresh_connection_is_never_sent_twice(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "hangs"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(RemoteFailed, match="closed the connection without an answer"):
            await events_of(engine, model, chat())

    assert _posts(upstream, "hangs") == 1


def test_a_connection_that_was_closed_while_it_was_idle_costs_no_request(
    upstream: odd_upstream.Upstream,
) -> None:
    @scenario(server(upstream, "stale"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        assert finish_of(await events_of(engine, model, chat())).completion_tokens == 3

    assert _posts(upstream, "stale") == 2, "over the connection of the list, then over its own"


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
@pytest.mark.parametrize("mode", ["slow", "pings"])
def test_a_deadline_bounds_the_time_to_the_first_token(
    upstream: odd_upstream.Upstream, mode: str, passed: bool
) -> None:
    @scenario(server(upstream, mode, first_byte_s=60, between_s=60))
    async def _(engine: Engine, model: ModelSpec) -> None:
        request = chat(passed=passed, placement=Placement(deadline_ms=300))
        with pytest.raises(
            DeadlineExceeded, match=r"X-Deadline-Ms passed before pings gave|before slow began"
        ):
            await events_of(engine, model, request)


@pytest.mark.parametrize(
    ("passed", "words"), [(True, "not complete within 0.5 s"), (False, "signs of life came for 0.5 s")]
)
def test_an_answer_that_is_not_streamed_does_not_trickle_for_ever(
    upstream: odd_upstream.Upstream, passed: bool, words: str
) -> None:
    @scenario(server(upstream, "drips", first_byte_s=60, between_s=60, whole_s=0.5))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(RemoteFailed, match=words) as caught:
            await events_of(engine, model, chat(stream=False, passed=passed))
        assert caught.value.status == 504
