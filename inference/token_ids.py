"""Token ids that come from outside, or go there: are they the model's, how do they join a prompt, where do they end."""

from __future__ import annotations

from collections.abc import Sequence

from inference.errors import BadRequest
from inference.tokenizer import TextCodec

STOP_TOKENS = 64
"""Tokens that a worker may have made behind a stop string before it was told."""


def check(ids: Sequence[int], codec: TextCodec, field: str) -> None:
    """Raises BadRequest that names the first id that is none of the model's."""
    most = codec.vocab_size - 1
    for index, id in enumerate(ids):
        if not 0 <= id <= most:
            raise BadRequest(
                f"{field}[{index}]: {id} is no token of this model; its ids go from 0 to {most}", field
            )


def joined(before: Sequence[int], ids: list[int], codec: TextCodec, *, bare: bool) -> list[int]:
    """A prompt behind `before`. The token that begins every text stands at the very beginning, and once: a template
    writes it by itself, a `bare` prompt gets what the tokenizer puts before a text."""
    if before:
        again = bool(ids) and ids[0] == codec.bos_id
        return [*before, *(ids[1:] if again else ids)]
    lead = list(codec.lead) if bare else []
    return ids if ids[: len(lead)] == lead else lead + ids


def without_stop(ids: list[int], prompt_tokens: int, stop: str, codec: TextCodec) -> list[int]:
    """The ids of a prompt and its answer as far as the answer was shown: up to the stop string that ended it."""
    start = max(prompt_tokens, len(ids) - STOP_TOKENS - len(stop))
    answer = ids[start:]
    at = codec.text_of(answer).find(stop)
    kept = len(answer)
    if at < 0:
        return ids
    while kept and len(codec.text_of(answer[:kept])) > at:
        kept -= 1
    rest = codec.text_of(answer)[len(codec.text_of(answer[:kept])) : at]
    return ids[: start + kept] + codec.tokens_of(rest, special=False)
