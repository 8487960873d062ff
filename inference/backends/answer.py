"""From the ids of a run to the events of an answer, at the pace of the reader."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import TypeVar

from inference.backend import ChatJob
from inference.energy import Energy
from inference.errors import ContextLengthExceeded, InferenceError
from inference.events import Event, Finish, FinishReason
from inference.meter import Meter
from inference.output_parser import OutputParser
from inference.run import Run
from inference.token_ids import without_stop
from inference.token_log import PlacedParser, TokenLog
from inference.tokenizer import TextCodec

T = TypeVar("T")


class Answer:
    """Text, thoughts and calls."""

    def __init__(
        self,
        job: ChatJob,
        run: Run,
        codec: TextCodec,
        load_s: float,
        parser: type[OutputParser] = OutputParser,
    ) -> None:
        self.finished = False
        self._job = job
        self._run = run
        self._load_s = load_s
        self._eos = codec.eos_ids | job.ends
        self._codec = codec
        self._ids = list(job.prompt_ids) if job.request.return_ids else None
        family, tags = job.family, job.think_tags
        self._decoder = codec.decoder(
            (*tags.all, *family.tags) if job.request.tools or family.always else tags.all
        )
        self._parser = parser(
            thinking="thinking" in job.spec.capabilities and not job.request.is_bare,
            starts_in_thinking=job.starts_in_thinking,
            tools=job.request.tools, stop=job.sampling.stop or (), family=family, tags=tags, show_thoughts=job.think,
            one_call=not job.request.tool_choice.parallel,
        )  # fmt: skip
        self.meter = Meter(gaps=run.gaps)

    def take(self) -> list[Event]:
        """Everything that came since the last call; Finish is the last event ever."""
        taken = self._run.take()
        if self._ids is not None:
            self._ids += taken
        events = self._read(taken)
        if self._parser.done:
            self._run.cancel()
            return [*events, self._finish("stop")]
        if not self._run.ended or self._run.error is not None:
            return events
        if self._run.finish == "ignored" and not self.meter.completion_tokens:
            raise ContextLengthExceeded(len(self._job.prompt_ids), len(self._job.prompt_ids))
        return [*events, *self._rest(), self._finish("stop" if self._run.finish == "stop" else "length")]

    def _read(self, taken: array[int]) -> list[Event]:
        ids = [id for id in taken if id not in self._eos]
        return self._counted(ids, lambda some: self._parser.push(self._decoder.push(some)))

    def _counted(self, tokens: list[T], read: Callable[[list[T]], list[Event]]) -> list[Event]:
        """One at a time while they may be thoughts, whose tags count with them."""
        self.meter.completion_tokens += len(tokens)
        events: list[Event] = []
        parser, at = self._parser, 0
        while at < len(tokens) and parser.may_think:
            was = parser.in_thoughts
            events += read(tokens[at : at + 1])
            self.meter.reasoning_tokens += was or parser.in_thoughts
            at += 1
        return events + read(tokens[at:] if at else tokens) if at < len(tokens) else events

    def _rest(self) -> list[Event]:
        """What was held back, at the end."""
        tail = self._decoder.flush()
        events = self._parser.push([tail]) if tail else []
        return events + self._parser.finish()

    def _finish(self, reason: FinishReason) -> Finish:
        self.finished = True
        run, now = self._run, time.perf_counter()
        first = run.first_token_at or run.ended_at or now
        energy = run.energy.so_far() if run.energy is not None else Energy()
        stop, ids = self._parser.stop_sequence or "", self._ids or []
        if ids and stop:
            ids = without_stop(ids, len(self._job.prompt_ids), stop, self._codec)
        return Finish(
            reason=reason, prompt_tokens=run.prompt_tokens or len(self._job.prompt_ids),
            completion_tokens=self.meter.completion_tokens, reasoning_tokens=self.meter.reasoning_tokens,
            total_s=now - self._job.began, load_s=self._load_s, prefill_s=first - run.submitted_at,
            decode_s=(run.ended_at or now) - first, stop_sequence=stop, ids=ids,
            energy_j=energy.joules, energy_source=energy.source,
        )  # fmt: skip


class LoggedAnswer(Answer):
    """Also with the tokens of each text and their log probabilities."""

    def __init__(self, job: ChatJob, run: Run, codec: TextCodec, load_s: float) -> None:
        super().__init__(job, run, codec, load_s, PlacedParser)
        assert isinstance(self._parser, PlacedParser)
        self._log = TokenLog(self._decoder, self._parser, codec.bytes)

    def _read(self, taken: array[int]) -> list[Event]:
        logprobs = self._run.take_logprobs()
        if len(taken) != len(logprobs):
            raise InferenceError(
                f"the runtime gave {len(logprobs)} log probabilities for {len(taken)} tokens"
            )
        tokens = [token for token in zip(taken, logprobs, strict=True) if token[0] not in self._eos]
        return self._counted(tokens, self._log.read)

    def _rest(self) -> list[Event]:
        return self._log.rest()


def answer_of(job: ChatJob, run: Run, codec: TextCodec, load_s: float) -> Answer:
    return (LoggedAnswer if job.request.logprobs else Answer)(job, run, codec, load_s)
