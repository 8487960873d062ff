"""The ONE driver of every endpoint that generates: parse, find the model, ask the engine, encode.

A failure before the first event is a real HTTP status; after it, it is the dialect's error inside the stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from compat_api import anthropic, headers, ollama, openai
from compat_api.consumer import InferenceConsumer, off_loop
from compat_api.dialect import JSON_UTF8, Dialect, Encoder, Preload, Several, unbroken
from compat_api.errors import Failure, Headers
from compat_api.several import merged
from compat_api.unread import passing_on
from inference import engine
from inference.errors import BadRequest, CapabilityMissing, ContextLengthExceeded, WorkerDied
from inference.events import Event, Finish, Passed, Start
from inference.relay import Relay
from inference.types import ChatRequest, ModelSpec
from registry import store

Batches = AsyncGenerator[list[Event], None]

DIALECTS: dict[str, Dialect] = {
    "chat": ollama.CHAT,
    "generate": ollama.GENERATE,
    "openai.chat": openai.CHAT,
    "openai.completions": openai.COMPLETIONS,
    "openai.responses": openai.RESPONSES,
    "anthropic.messages": anthropic.MESSAGES,
}
"""By operation name."""


class GenerationConsumer(InferenceConsumer):
    """Every dialect's generation, streamed or whole."""

    encoder: Encoder
    encode_error: Callable[[int, str, str | None], bytes]
    start: Start
    facts: Headers

    async def handle(self, body: bytes) -> None:
        dialect = self.dialect()
        parsed = await self._parsed(dialect, body)
        if isinstance(parsed, Preload):
            await self._preload(parsed)
            return
        first = parsed.requests[0] if isinstance(parsed, Several) else parsed
        self.log.ignored = first.sampling.ignored
        spec = await self.find(first.model)
        self._require_completion(spec, first.model)
        if dialect.with_texts is not None and not spec.remote:
            parsed = await dialect.with_texts(parsed, (await engine.current().texts.get(spec)).codec)
        if dialect.zero_is_none and first.sampling.max_tokens == 0 and not spec.remote:
            await self._prompts_alone(dialect, spec, parsed)
            return
        if isinstance(parsed, Several) and spec.remote:
            parsed = passing_on(self.operation, body, spec) or parsed
        if isinstance(parsed, Several):
            await self._several(dialect, spec, parsed)
            return
        request = self.sourced(self.placed(parsed), body)
        self.encoder = dialect.encoder(request)
        self.encode_error = self.encoder.error
        if request.stream:
            await self._stream(dialect, spec, request)
        else:
            await self._whole(dialect, spec, request)

    async def _parsed(self, dialect: Dialect, body: bytes) -> ChatRequest | Preload | Several:
        try:
            return await off_loop(dialect.parse, body)
        except BadRequest:
            unread = passing_on(self.operation, body)
            if unread is None or store.peek(unread.model) is not None:
                raise
            return unread

    def dialect(self) -> Dialect:
        return DIALECTS[self.operation.name]

    async def _stream(self, dialect: Dialect, spec: ModelSpec, request: ChatRequest) -> None:
        async with aclosing(engine.current().generate(spec, request)) as batches:
            last = await self._write_all_but_last(dialect, batches)
        self.log.close(200)
        await self.finish(last)

    async def _write_all_but_last(self, dialect: Dialect, batches: Batches) -> bytes:
        """The bytes of the last batch wait until the engine has let go of the request."""
        encode = self.encoder.event
        batch = await self._first(batches)
        if batch and isinstance(batch[0], Passed):
            encode = _as_it_came
        batch.insert(0, self.start)
        await self.begin(dialect.stream_type, self.facts)
        while True:
            data = b"".join([encode(event) for event in batch])
            if batch and isinstance(batch[-1], Finish):
                self.log.finished(batch[-1])
                return data
            if data:
                await self.write(data)
            if self.start.relay is not None:
                await self._relayed(self.start.relay, encode)
            batch = await _next(batches)

    async def _relayed(self, relay: Relay, encode: Callable[[Event], bytes]) -> None:
        """Where nothing stands between the answer and the connection, its parts go on as they come."""
        if (push := self.push) is not None:

            def take(events: list[Event]) -> bool:
                data = b"".join([encode(event) for event in events])
                return not data or push(unbroken(data))

            await relay.into(take, self.writable)

    async def _whole(self, dialect: Dialect, spec: ModelSpec, request: ChatRequest) -> None:
        async with aclosing(engine.current().generate(spec, request)) as batches:
            events: list[Event] = await self._first(batches)
            events.insert(0, self.start)
            async for batch in batches:
                events += batch
        if isinstance(events[-1], Finish):
            self.log.finished(events[-1])
        passed = _as_it_came(events[1]) if len(events) > 1 else b""
        self.facts += headers.of_energy(self.log.energy)
        await self.reply(dialect.whole_type, passed or self.encoder.whole(events), self.facts)

    async def _first(self, batches: Batches) -> list[Event]:
        """What the first token shows. Start came before it: the headers are made while the worker reads the prompt."""
        batch = await _next(batches)
        while batch and isinstance(batch[0], Start):
            self.start = batch[0]
            self.log.routed(self.start)
            self.facts = headers.of_start(self.start)
            batch = await _next(batches)
        self.log.started(self.start)
        return batch

    async def _several(self, dialect: Dialect, spec: ModelSpec, several: Several) -> None:
        """All at the same time; the headers are those of the first to have a token."""
        assert dialect.several is not None, "only dialects that parse Several have to encode it"
        encoder = dialect.several(several)
        self.encode_error = encoder.error
        stream = several.requests[0].stream
        answers: list[list[Event]] = [[] for _ in several.requests]
        generate = engine.current().generate
        async with aclosing(
            merged([generate(spec, self.placed(one)) for one in several.requests])
        ) as entries:
            async for index, batch in entries:
                if batch and isinstance(batch[0], Start):
                    answers[index] = [batch[0]]
                    self.log.routed(batch[0])
                    continue
                if self.log.is_waiting:
                    await self._several_begun(dialect, answers, index, stream)
                answers[index] += batch if not stream else [end for end in batch if isinstance(end, Finish)]
                if stream and (data := b"".join([encoder.event(index, event) for event in batch])):
                    await self.write(data)
        self.log.several([events[0] for events in answers], [events[-1] for events in answers])
        if stream:
            self.log.close(200)
            await self.finish()
        else:
            self.facts += headers.of_energy(self.log.energy)
            await self.reply(dialect.whole_type, encoder.whole(answers), self.facts)

    async def _several_begun(
        self, dialect: Dialect, answers: list[list[Event]], index: int, stream: bool
    ) -> None:
        start = answers[index][0]
        assert isinstance(start, Start), "the engine's first event is Start"
        self.log.started(start)
        self.facts = headers.of_start(start)
        if stream:
            await self.begin(dialect.stream_type, self.facts)

    async def _prompts_alone(self, dialect: Dialect, spec: ModelSpec, parsed: ChatRequest | Several) -> None:
        """No token was asked for: the prompts are counted and maybe shown, no device is needed."""
        assert dialect.several is not None, "only a dialect that encodes Several has answers without a token"
        several = parsed if isinstance(parsed, Several) else Several((parsed,), 1)
        encoder = dialect.several(several)
        self.encode_error = encoder.error
        ends: list[list[Event]] = []
        for one in several.requests[:: several.choices_each]:
            ids = await engine.current().prompt_ids(spec, self.placed(one))
            if len(ids) > spec.context_length:
                raise ContextLengthExceeded(len(ids), spec.context_length)
            ends += [[_unbegun(len(ids))]] * several.choices_each
        if not several.requests[0].stream:
            await self.reply(dialect.whole_type, encoder.whole(ends), [])
            return
        await self.begin(dialect.stream_type, [])
        self.log.close(200)
        await self.finish(b"".join([encoder.event(index, end) for index, (end,) in enumerate(ends)]))

    async def _preload(self, preload: Preload) -> None:
        request = self.placed(preload.request)
        spec = await self.find(request.model)
        if request.keep_alive_s == 0:
            await engine.current().unload(spec)
            done_reason = "unload"
        else:
            self._require_completion(spec, request.model)
            await engine.current().load(spec, request)
            done_reason = "load"
        await self.reply(JSON_UTF8, preload.answer(done_reason), [])

    def _require_completion(self, spec: ModelSpec, model: str) -> None:
        """Ollama names the endpoint: `"m" does not support generate`."""
        require_completion(spec, model, "generate" if self.operation.name == "generate" else "chat")

    def stream_error(self, failure: Failure) -> bytes:
        return self.encode_error(failure.status, failure.message, failure.code)


def _as_it_came(event: Event) -> bytes:
    """Of an answer in the caller's own dialect, by another server."""
    return event.data if isinstance(event, Passed) else b""


def _unbegun(prompt_tokens: int) -> Finish:
    return Finish(
        reason="length",
        prompt_tokens=prompt_tokens,
        completion_tokens=0,
        total_s=0.0,
        load_s=0.0,
        prefill_s=0.0,
        decode_s=0.0,
    )


def require_completion(spec: ModelSpec, model: str, endpoint: str) -> None:
    """Raises CapabilityMissing in Ollama's words."""
    if "completion" not in spec.capabilities:
        raise CapabilityMissing(f'"{model}" does not support {endpoint}', "model")


async def _next(batches: Batches) -> list[Event]:
    try:
        return await anext(batches)
    except StopAsyncIteration:
        raise WorkerDied("the answer ended before it was complete") from None
