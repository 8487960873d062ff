"""Token ids that come from outside, or go there: are they the model's, how do they join a prompt, where do they end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from inference.errors import BadRequest
from inference.tokenizer import TextCodec

MOST_IDS = 1_000_000
"""In one request."""

STOP_TOKENS = 64
"""Tokens that a worker may have made behind a stop string before it was told."""

CUT_WORD_TOKENS = 4
"""Of a word at the beginning or the end of a part of a text."""

_WAY_OUT = "; send texts (LangChain does with OpenAIEmbeddings(check_embedding_ctx_length=False)), or its ids"


def check_number(ids: int, field: str) -> None:
    """Raises BadRequest for more ids than any context holds; to look at them all would keep others waiting."""
    if ids > MOST_IDS:
        raise BadRequest(f'"{field}": {ids} token ids; at most {MOST_IDS} are taken', field)


def check(ids: Sequence[int], codec: TextCodec, field: str, way_out: str = "") -> None:
    """Raises BadRequest that names the first id that is none of the model's."""
    check_number(len(ids), field)
    most = codec.vocab_size - 1
    if ids and min(ids) >= 0 and max(ids) <= most:
        return  # a million of them in some ten milliseconds
    for index, id in enumerate(ids):
        if not 0 <= id <= most:
            raise BadRequest(
                f"{field}[{index}]: {id} is no token of this model; its ids go from 0 to {most}{way_out}",
                field,
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


def texts_of(given: Sequence[Sequence[int]], codec: TextCodec) -> tuple[str, ...]:
    """The texts that a client made into the ids of this model, with the tokens that its tokenizer puts around a text;
    blocking. Raises BadRequest for the ids of another tokenizer: within the vocabulary they would mean other words, and
    nobody would notice."""
    check_number(sum(map(len, given)), "input")
    frame = frozenset(codec.tokens_of("", special=True))
    texts: list[str] = []
    for index, ids in enumerate(given):
        field = f"input[{index}]" if len(given) > 1 else "input"
        check(ids, codec, field, _WAY_OUT)
        inner = _within(ids, frame)
        text = codec.text_of(inner)
        framed = not frame or (bool(ids) and (ids[0] in frame or ids[-1] in frame))
        if not framed or not _says(codec.tokens_of(text, special=False), inner):
            raise BadRequest(
                f"{field}: the ids are not those that this model's tokenizer makes of a text{_WAY_OUT}",
                "input",
            )
        texts.append(text)
    return tuple(texts)


def _within(ids: Sequence[int], frame: frozenset[int]) -> Sequence[int]:
    """Without the tokens that the tokenizer itself puts around a text."""
    start, end = 0, len(ids)
    while start < end and ids[start] in frame:
        start += 1
    while start < end and ids[end - 1] in frame:
        end -= 1
    return ids[start:end]


def _says(made: Sequence[int], ids: Sequence[int]) -> bool:
    """A text gives its own ids again, but for a word that was cut where a long text was taken apart."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(made, ids, strict=False)))
    same += sum(
        1
        for _ in takewhile(lambda pair: pair[0] == pair[1], zip(reversed(made), reversed(ids), strict=False))
    )
    other = CUT_WORD_TOKENS if len(ids) > 2 * CUT_WORD_TOKENS else 0
    return same >= len(ids) - other and abs(len(made) - len(ids)) <= other
