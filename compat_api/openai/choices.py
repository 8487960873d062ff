"""Several answers to one request: the choices of a prompt, and those of several prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import structs

from compat_api.dialect import Several
from compat_api.openai.responses import finish_of, usage_of
from inference.errors import BadRequest
from inference.events import Event, Finish
from inference.types import ChatRequest

MOST = 32
"""Answers to one request: as many as one device generates at a time."""


class ChoiceEncoder(Protocol):
    """Writes one choice, and what stands around all of them."""

    def event(self, event: Event) -> bytes: ...
    def last(self, finish: Finish) -> bytes: ...
    def tail(self, usage: dict[str, int]) -> bytes: ...
    def choice(self, events: Sequence[Event]) -> dict[str, Any]: ...
    def object(self, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> bytes: ...
    def error(self, status: int, message: str, code: str | None) -> bytes: ...


class ChoicesEncoder:
    """The encoders of the choices, whose streams come interleaved; the last one to end ends the stream."""

    def __init__(self, several: Several, make: Callable[..., ChoiceEncoder], answer_id: str) -> None:
        self._choices_each = several.choices_each
        self._encoders = [
            make(request, answer_id=answer_id, index=index) for index, request in enumerate(several.requests)
        ]
        self._ends: dict[int, Finish] = {}

    def event(self, index: int, event: Event) -> bytes:
        encoder = self._encoders[index]
        if type(event) is not Finish:
            return encoder.event(event)
        self._ends[index] = event
        if len(self._ends) < len(self._encoders):
            return encoder.last(event)
        ends = [self._ends[place] for place in range(len(self._encoders))]
        return encoder.last(event) + encoder.tail(usage_of(ends, self._choices_each))

    def whole(self, answers: Sequence[Sequence[Event]]) -> bytes:
        choices = [encoder.choice(events) for encoder, events in zip(self._encoders, answers, strict=True)]
        usage = usage_of([finish_of(events) for events in answers], self._choices_each)
        return self._encoders[0].object(choices, usage)

    def error(self, status: int, message: str, code: str | None) -> bytes:
        return self._encoders[0].error(status, message, code)


def several(prompts: Sequence[ChatRequest], n: int | None) -> ChatRequest | Several:
    """`n` choices of each prompt; one request where that is one answer. Raises BadRequest."""
    each = 1 if n is None else n
    if not 1 <= each * len(prompts) <= MOST or each < 1:
        raise BadRequest(
            f'"n": {each} answers to {len(prompts)} prompts; from 1 to {MOST} in all are given', "n"
        )
    if each == len(prompts) == 1:
        return prompts[0]
    wanted = each * len(prompts)
    counted = [structs.replace(prompt, choices=wanted) for prompt in prompts]
    return Several(tuple(_another(prompt, choice) for prompt in counted for choice in range(each)), each)


def _another(prompt: ChatRequest, choice: int) -> ChatRequest:
    """The same with a seed of its own, so that choices differ and can be had again."""
    seed = prompt.sampling.seed
    if not choice or seed is None:
        return prompt
    return structs.replace(prompt, sampling=structs.replace(prompt.sampling, seed=seed + choice))
