"""The prompts of /v1/completions: texts, or the ids of tokens, which go to the model as they are."""

from __future__ import annotations

import asyncio

from inference import token_ids
from inference.errors import BadRequest
from inference.tokenizer import TextCodec

Prompt = str | tuple[int, ...]

INLINE_IDS = 8_000
"""Longer prompts are made into text in a thread."""


def read(given: object) -> list[Prompt]:
    """One text or one list of ids, or a list of either. Raises BadRequest."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given:
        if _is_ids(given):
            return [tuple(given)]
        if all(isinstance(entry, str) or (_is_ids(entry) and entry) for entry in given):
            token_ids.check_number(sum(len(entry) for entry in given if isinstance(entry, list)), "prompt")
            return [entry if isinstance(entry, str) else tuple(entry) for entry in given]
    raise BadRequest('"prompt": give a text, a list of token ids, or a list of either', "prompt")


def _is_ids(given: object) -> bool:
    return isinstance(given, list) and all(type(id) is int for id in given)


async def text_of(ids: tuple[int, ...], codec: TextCodec) -> str:
    """What a prompt of ids says. Raises BadRequest for an id that is none of the model's."""
    token_ids.check(ids, codec, "prompt")
    return codec.text_of(ids) if len(ids) <= INLINE_IDS else await asyncio.to_thread(codec.text_of, ids)
