"""A server that misbehaves: the next one answers before the first token, and the words say what is wrong after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import odd_upstream
import orjson
import pytest
from engines import events_of, finish_of, run, start_of, text_of, until
from msgspec import structs

from compat_api import errors
from inference.config import EngineConfig
from inference.engine import Engine
from inference.errors import (
    BreakerOpen,
    DeviceUnavailable,
    NotAllowed,
    RemoteFailed,
    RemoteRefused,
    RequestLoop,
)
from inference.events import Event, Passed, Start
from inference.remote import RemoteSpec
from inference.types import ChatRequest, Message, ModelSpec, Placement, Source

QUICK = {"first_byte_s": 1.0, "between_s": 1.0}


@pytest.fixture(scope="module")
def upstream() -> Iterator[odd_upstream.Upstream]:
    with odd_upstream.running() as started:
        yield started


def server(upstream: odd_upstream.Upstream, mode: str, **fields: Any) -> RemoteSpec:
    return RemoteSpec(
        **{"id": mode, "protocol": "openai", "url": f"{upstream.url}/{mode}", **QUICK, **fields}
    )


def chat(stream: bool = True, passed: bool = True, **fields: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "count"}]
    body = {"model": "m", "messages": messages, "stream": stream, "odd_field": 1}
    source = Source(operation="openai.chat", body=orjson.dumps(body)) if passed else None
    return ChatRequest(
        model="m", messages=(Message(role="user", content="count"),), stream=stream, source=source, **fields
    )


@asynccontextmanager
async def following(*specs: RemoteSpec) -> AsyncIterator[tuple[Engine, ModelSpec]]:
    """An engine without devices that knows these servers, and the model that they offer."""
    engine = Engine(EngineConfig(device="CPU"))
    engine.follow_remotes(specs)
    try:
        await until(lambda: engine.remotes.find("m") is not None, 30)
        await until(
            lambda: all(backend.health.fault != _NEVER for backend in engine.remotes.backends.values()), 30
        )
        found = engine.remotes.find("m")
        assert found is not None
        yield engine, found
    finally:
        await engine.remotes.stop()


_NEVER = "has not answered yet"


def scenario(*specs: RemoteSpec) -> Callable[[Callable[[Engine, ModelSpec], Awaitable[None]]], None]:
    """Runs the decorated function at once."""

    def decorated(told: Callable[[Engine, ModelSpec], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            async with following(*specs) as (engine, model):
                await told(engine, model)

        run(all_of_it)

    return decorated


def passed_bytes(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Passed))


BEFORE_A_TOKEN = (
    ("slow", "device_unavailable"), ("early", "device_unavailable"), ("fails", "device_unavailable"),
    ("full", "busy"), ("garbled", "device_unavailable"), ("endless", "device_unavailable"),
    ("redirect", "device_unavailable"), ("gone", "device_unavailable"), ("pings", "device_unavailable"),
)  # fmt: skip


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
@pytest.mark.parametrize(("mode", "reason"), BEFORE_A_TOKEN)
def test_a_failure_before_the_first_token_leaves_the_answer_to_the_next_server(
    upstream: odd_upstream.Upstream, mode: str, reason: str, passed: bool
) -> None:
    @scenario(server(upstream, mode, priority=9), server(upstream, "good", priority=1))
    async def _(engine: Engine, model: ModelSpec) -> None:
        events = await events_of(engine, model, chat(passed=passed))
        route = [event for event in events if isinstance(event, Start)][-1].route
        assert (route.routed, route.fallback_reason) == ("good", reason)
        said = passed_bytes(events).decode() if passed else text_of(events)
        assert said.count("one") == said.count("three") == 1
        assert finish_of(events).completion_tokens == 3


ALONE = (
    ("slow", 504, "no answer began within 1 s"), ("early", 502, "ended the answer before it was complete"),
    ("fails", 502, "out of luck"), ("full", 429, "too many"), ("endless", 502, "a head beyond all bounds"),
    ("redirect", 502, "redirect"), ("refuses", 422, "temperature: is too hot"), ("gone", 404, "no m here"),
    ("shape", 502, "it ended the answer|is not what this API sends"),
)  # fmt: skip


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("mode", "status", "words"), ALONE)
def test_a_failure_of_the_last_server_says_what_happened(
    upstream: odd_upstream.Upstream, mode: str, status: int, words: str, stream: bool
) -> None:
    if mode == "early" and not stream:
        words = "no JSON"

    @scenario(server(upstream, mode))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(RemoteFailed, match=words) as caught:
            await events_of(engine, model, chat(stream))
        assert (caught.value.status, caught.value.backend) == (status, mode)
        assert caught.value.retry_after_s == (7.0 if mode == "full" else None)
        assert upstream.url.rpartition(":")[2] not in str(caught.value), "no address for a client"


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
@pytest.mark.parametrize(
    ("mode", "words"), [("cut", "before it was complete|not JSON"), ("breaks", "the card is gone")]
)
def test_after_the_first_token_there_is_no_second_try(
    upstream: odd_upstream.Upstream, mode: str, words: str, passed: bool
) -> None:
    @scenario(server(upstream, mode, priority=9), server(upstream, "good", priority=1))
    async def _(engine: Engine, model: ModelSpec) -> None:
        seen: list[Event] = []

        async def read() -> None:
            async for batch in engine.generate(model, chat(passed=passed)):
                seen.extend(batch)

        with pytest.raises(RemoteFailed, match=words):
            await read()
        said = passed_bytes(seen).decode() if passed else text_of(seen)
        assert "one" in said
        assert not said.endswith('"c"'), "whole events alone"


def test_what_a_server_judges_of_the_request_no_other_is_asked(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "refuses", priority=9), server(upstream, "good", priority=1))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(RemoteRefused, match="temperature: is too hot"):
            await events_of(engine, model, chat())


def test_a_key_never_follows_a_redirect(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "redirect", key="sk-very-secret"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(RemoteFailed) as caught:
            await events_of(engine, model, chat())
        assert "sk-very-secret" not in str(caught.value)

    arrived = upstream.seen()
    assert any(one["headers"].get("authorization") == "Bearer sk-very-secret" for one in arrived)
    assert not [one for one in arrived if one["port"] == upstream.other_port]


def test_a_body_passes_with_every_field_and_the_id_of_the_request(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "words"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        await events_of(engine, model, structs.replace(chat(), request_id="req_of_mine"))

    sent = [one for one in upstream.seen() if one["path"] == "/words/v1/chat/completions"][-1]
    assert sent["body"].encode() == chat().source.body  # type: ignore[union-attr]
    assert sent["headers"]["x-npu-proxy-request-id"] == "req_of_mine"


def test_three_failures_open_the_breaker_and_one_request_closes_it(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "fails"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        for _ in range(3):
            with pytest.raises(RemoteFailed):
                await events_of(engine, model, chat())
        with pytest.raises(BreakerOpen, match="fails"):
            await events_of(engine, model, chat())


def test_a_refused_key_is_said_to_the_operator_and_to_the_caller(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "stranger", models={"m": "m"}, key="sk-very-secret"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(
            DeviceUnavailable, match="stranger: it refuses the key that it was given"
        ) as caught:
            await events_of(engine, model, chat())
        assert "sk-very-secret" not in str(caught.value)
        (state,) = (state for state in engine.snapshot().devices if not state.local)
        assert (state.healthy, state.protocol) == (False, "openai")
        assert "set the key" in state.fault


def test_a_list_that_is_none_makes_a_server_unwell(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "nolist", models={"m": "m"}))
    async def _(engine: Engine, model: ModelSpec) -> None:
        with pytest.raises(DeviceUnavailable, match="its list of models is not one"):
            await events_of(engine, model, chat())


def test_a_server_that_comes_back_is_asked_again(upstream: odd_upstream.Upstream) -> None:
    async def told() -> None:
        seat = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = seat.sockets[0].getsockname()[1]
        seat.close()
        await seat.wait_closed()
        engine = Engine(EngineConfig(device="CPU"))
        away = RemoteSpec(id="away", protocol="openai", url=f"http://127.0.0.1:{port}")
        engine.follow_remotes((away,))
        try:
            health = engine.remotes.backends["away"].health
            await until(lambda: "connection refused" in health.fault, 30)

            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                body = b'{"data":[{"id":"m"}]}'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                writer.close()

            async with await asyncio.start_server(answer, "127.0.0.1", port):
                await until(lambda: not health.fault, 30)
            assert engine.remotes.find("M:latest") is not None
        finally:
            await engine.remotes.stop()

    run(told)


@pytest.mark.parametrize(
    ("placement", "local_only", "words"),
    [
        (Placement(remote=False, kept_by=("X-Remote-Allowed: false",)), False,
         "this request is kept on this machine by X-Remote-Allowed: false, and good"),
        (Placement(remote=False, device="good"), False, "good is another server"),
        (Placement(), True, "kept on this machine by the setting of m, and good"),
        (Placement(remote=False, kept_by=("this API key",)), True,
         "kept on this machine by this API key and the setting of m, and good"),
    ],
)  # fmt: skip
def test_a_request_that_stays_here_reaches_no_server(
    upstream: odd_upstream.Upstream, placement: Placement, local_only: bool, words: str
) -> None:
    @scenario(server(upstream, "good"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        before = len(upstream.seen())
        with pytest.raises(NotAllowed, match=words):
            await events_of(engine, structs.replace(model, local_only=local_only), chat(placement=placement))
        assert len(upstream.seen()) == before


def test_a_request_that_comes_back_is_a_loop(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "good"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        await events_of(engine, model, chat(placement=Placement(via="npuproxy-elsewhere")))
        via = upstream.seen()[-1]["headers"]["x-npu-proxy-via"]
        assert via.startswith("npuproxy-elsewhere, npuproxy-")
        engine.remotes.check_loop(Placement(via="npuproxy-elsewhere"))
        with pytest.raises(RequestLoop) as caught:
            engine.remotes.check_loop(Placement(via=via))
        assert errors.of(caught.value).status == 508


def test_equals_share_what_runs_and_the_rest_goes_by_priority(upstream: odd_upstream.Upstream) -> None:
    first, second = (server(upstream, "good", id=name) for name in ("first", "second"))

    @scenario(first, second, server(upstream, "words", priority=1))
    async def _(engine: Engine, model: ModelSpec) -> None:
        routed = [start_of(await events_of(engine, model, chat())).route.routed for _ in range(4)]
        assert sorted(routed) == ["first", "first", "second", "second"]


def test_one_slot_is_one_request_at_a_time(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "slow", slots=1, first_byte_s=3.0))
    async def _(engine: Engine, model: ModelSpec) -> None:
        first = asyncio.create_task(events_of(engine, model, chat()))
        queue = engine.remotes.backends["slow"].queue
        await until(lambda: queue.running == 1)
        second = asyncio.create_task(events_of(engine, model, chat()))
        await until(lambda: queue.waiting == 1)
        second.cancel()
        with pytest.raises(RemoteFailed):
            await first
        await until(lambda: queue.running == queue.waiting == 0)


def test_a_client_that_leaves_ends_the_answer_there(upstream: odd_upstream.Upstream) -> None:
    @scenario(server(upstream, "forever", slots=1))
    async def _(engine: Engine, model: ModelSpec) -> None:
        async with aclosing(engine.generate(model, chat())) as batches:
            await anext(batches)
            assert await anext(batches)
        assert engine.remotes.backends["forever"].queue.running == 0
        await until(lambda: any(one["path"] == "/forever/closed" for one in upstream.seen()), 30)


@pytest.mark.parametrize("metered", [True, False])
def test_tokens_that_count_against_a_limit_are_counted_by_the_server(
    upstream: odd_upstream.Upstream, metered: bool
) -> None:
    @scenario(server(upstream, "good"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        request = chat()
        assert request.source is not None
        events = await events_of(
            engine, model, structs.replace(request, source=structs.replace(request.source, metered=metered))
        )
        finish, sent = finish_of(events), json.loads(upstream.seen()[-1]["body"])
        assert (sent.get("stream_options") == {"include_usage": True}) == metered
        assert sent["odd_field"] == 1
        assert (b'"usage"' in passed_bytes(events)) != metered, "shown to those alone who asked"
        assert passed_bytes(events).endswith(b"data: [DONE]\n\n")
        assert (finish.prompt_tokens, finish.completion_tokens) == (11, 3)


@pytest.mark.parametrize("stream", [True, False])
def test_responses_are_translated_where_a_server_has_chats_alone(
    upstream: odd_upstream.Upstream, stream: bool
) -> None:
    @scenario(server(upstream, "good"))
    async def _(engine: Engine, model: ModelSpec) -> None:
        source = Source(operation="openai.responses", body=b'{"model":"m","input":"count"}')
        for _ in range(2):
            events = await events_of(engine, model, structs.replace(chat(stream), source=source))
            assert (text_of(events), passed_bytes(events)) == ("one two three", b"")
        asked = [one["path"] for one in upstream.seen()[-3:]]
        assert asked == ["/good/v1/responses", *["/good/v1/chat/completions"] * 2], "it is asked for once"
