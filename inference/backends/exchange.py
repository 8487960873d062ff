"""One answer of another server, piece by piece, as events: passed on as it comes, or translated by a Wire."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import orjson

from inference.backend import ChatJob, left_s
from inference.backends import passing, upstream
from inference.backends.passing import Names, Scan
from inference.backends.relay import StreamRelay
from inference.backends.wire import Ended, Reader, WireError
from inference.errors import DeadlineExceeded, RemoteFailed
from inference.events import Event, Finish, Passed
from inference.meter import Meter
from inference.profiles import LEAST_TOKENS
from inference.remote import RemoteSpec

LEAST_READS = 4
"""With tokens, of an answer that tells a rate."""


class Exchange:
    """Between the head of an answer and its last event. `next` until `finished`."""

    def __init__(
        self, spec: RemoteSpec, job: ChatJob, response: aiohttp.ClientResponse, asked_at: float
    ) -> None:
        """`asked_at`: time.perf_counter() when the request went out."""
        self._spec = spec
        self._job = job
        self._response = response
        self._asked_at = asked_at
        self._first_at = 0.0
        self.meter = Meter()
        self.finished = False
        self.first_tokens = 0
        """Of the read that had the first one."""
        self.reads = 0
        """That had tokens."""

    async def next(self) -> list[Event]:
        """What has come, the first token at the first call, Finish at last. Raises RemoteFailed."""
        raise NotImplementedError

    def relay(self) -> StreamRelay | None:
        """Another way to all between the first token and the last events; None where those are the same."""
        return None

    def close(self) -> None:
        """At the end in whatever way. A connection whose answer was not read to its end is closed, which tells the
        other server to stop."""
        if self._response.content.at_eof():
            self._response.release()
        elif self.finished:
            upstream.drain(self._response)
        else:
            self._response.close()

    async def _read(self) -> bytes:
        """Signs of life that are no token count between tokens, and not before the first one."""
        if self._first_at:
            return await upstream.read(self._spec, self._response, self._spec.between_s)
        return await self._read_first(self._spec.first_byte_s - (time.perf_counter() - self._asked_at))

    async def _read_first(self, within_s: float) -> bytes:
        """X-Deadline-Ms bounds it: that a request has begun over there shows in its first token alone."""
        try:
            async with asyncio.timeout(left_s(self._job)):
                return await upstream.read(self._spec, self._response, max(0.0, within_s))
        except TimeoutError:
            raise DeadlineExceeded(
                f"X-Deadline-Ms passed before {self._spec.id} gave a first token"
            ) from None

    def _begun(self) -> None:
        """Tokens have come, and are counted."""
        self.reads += 1
        if not self._first_at:
            self._first_at, self.first_tokens = time.perf_counter(), self.meter.completion_tokens

    def _finish(self, ended: Ended) -> Finish:
        now = time.perf_counter()
        first = self._first_at or now
        if ended.completion_tokens is not None:
            self.meter.completion_tokens = ended.completion_tokens
        self.meter.reasoning_tokens = ended.reasoning_tokens or 0
        prompt = ended.prompt_tokens
        load_s = min(ended.load_s or 0.0, first - self._asked_at)  # where it says how long the model took
        return Finish(
            reason=ended.reason, prompt_tokens=len(self._job.prompt_ids) if prompt is None else prompt,
            completion_tokens=self.meter.completion_tokens, reasoning_tokens=self.meter.reasoning_tokens,
            total_s=now - self._job.began, load_s=load_s, prefill_s=first - self._asked_at - load_s,
            decode_s=now - first if self.reads > 1 else 0.0, stop_sequence=ended.stop_sequence,
        )  # fmt: skip

    def pace(self, finish: Finish) -> tuple[int, float]:
        """Tokens and the seconds that they took, the first one's apart; (0, 0) where too few came one after the other:
        what comes in one read took no time that is known here."""
        timed = finish.completion_tokens - self.first_tokens
        if self.reads < LEAST_READS or timed < LEAST_TOKENS:
            return 0, 0.0
        return timed + 1, finish.decode_s

    def _broken(self, what: str) -> RemoteFailed:
        return RemoteFailed(self._spec.id, what)


class Streamed(Exchange):
    """Piece by piece."""

    _relay: StreamRelay | None = None

    async def next(self) -> list[Event]:
        events = self._relay.left() if self._relay is not None else []
        while not events:
            events = self._events(await self._read())
        self.finished = isinstance(events[-1], Finish)
        return events

    def relay(self) -> StreamRelay:
        self._relay = StreamRelay(self._spec, self._response, self._events)
        return self._relay

    def _events(self, data: bytes) -> list[Event]:
        """What these bytes complete, b'' being the end of the body. Raises RemoteFailed."""
        raise NotImplementedError


class PassedStream(Streamed):
    """Each read of the socket is one event, but that it ends where an event of the stream does."""

    scan: Scan

    def _events(self, data: bytes) -> list[Event]:
        scan = self.scan
        passed = scan.feed(data) if data else scan.rest()
        if scan.complete:
            if not self._first_at:
                self._begun()
            return [Passed(passed), self._finish(scan.usage())]
        if not data:
            raise self._broken("it ended the answer before it was complete")
        if not passed:
            return []
        self.meter.completion_tokens = scan.tokens
        self._begun()
        return [Passed(passed)]


class PassedWhole(Exchange):
    """An answer that is not streamed."""

    names: Names
    path: passing.Path

    async def next(self) -> list[Event]:
        spec = self._spec
        first = await self._read_first(spec.first_byte_s)
        rest = await upstream.whole(
            spec, self._response, upstream.LONGEST_ANSWER, spec.whole_s, spec.first_byte_s
        )
        body = first + rest
        self._begun()
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self._broken("its answer is no JSON") from None
        if isinstance(answer, dict) and answer.get("error"):
            raise self._broken(passing.error_words(answer) or "it failed")
        if not isinstance(answer, dict) or self.path.answer not in answer:
            raise self._broken("its answer is not what this API sends")
        self.finished = True
        return [Passed(self.names.back(body)), self._finish(passing.usage_in(body))]


class Translated(Streamed):
    """From another API than the caller's."""

    reader: Reader

    async def next(self) -> list[Event]:
        if self._job.request.stream:
            return await super().next()
        try:  # nobody sees what comes meanwhile, so nobody would leave
            async with asyncio.timeout(self._spec.whole_s):
                return await super().next()
        except TimeoutError:
            within = f"nothing but signs of life came for {self._spec.whole_s:g} s"
            raise RemoteFailed(self._spec.id, within, status=504) from None

    def _events(self, data: bytes) -> list[Event]:
        try:
            read = self.reader.feed(data) if data else self.reader.end()
        except WireError as error:
            raise self._broken(str(error)) from None
        events: list[Event] = []
        for delta in read:
            if isinstance(delta, Ended):
                if not self._first_at:
                    self._begun()
                events.append(self._finish(delta))
                return events
            self.meter.completion_tokens += 1
            events.append(delta)
        if not data:
            raise self._broken("it ended the answer before it was complete")
        if events:
            self._begun()
        return events
