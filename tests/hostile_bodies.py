"""JSON bodies that mean harm, for every endpoint that takes one.

A body begins as one that works and asks for a few tokens. Some of its fields are replaced by values of their type, of
another type, or of none; then its text may be cut, repeated, nested, or written in another encoding. The types are
read from the Structs that the endpoints decode into, so a new field is drawn as soon as it is there.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import NamedTuple

import msgspec
import zstandard
from hostile_values import (
    NAMED,
    OWN,
    Draw,
    Json,
    fields,
    given,
    keyed,
    listed,
    numbers,
    one_of,
    scalars,
    texts,
    values,
)
from msgspec import inspect

from compat_api import cancelling, efficiency, explaining
from compat_api.anthropic import requests as anthropic
from compat_api.ollama import catalogue, create, pull
from compat_api.ollama import requests as ollama
from compat_api.openai import completions, response_requests, tokens
from compat_api.openai import requests as openai

TURNS = [{"role": "user", "content": "How do I pull a model?"}]
FEW = {"num_predict": 2, "temperature": 0}


class Shape(NamedTuple):
    """The body of one operation: the type it is decoded into, and values that work."""

    type: type[msgspec.Struct]
    good: dict[str, Json]


SHAPES: dict[str, Shape] = {
    "show": Shape(catalogue.ShowBody, {"model": "demo"}),
    "chat": Shape(ollama.ChatBody, {"model": "demo", "messages": TURNS, "options": FEW, "think": False}),
    "generate": Shape(ollama.GenerateBody, {"model": "demo", "prompt": "hello", "options": FEW}),
    "embed": Shape(ollama.EmbedBody, {"model": "all-minilm", "input": ["a", "b"]}),
    "embeddings": Shape(ollama.LegacyEmbedBody, {"model": "all-minilm", "prompt": "a"}),
    "pull": Shape(pull.PullBody, {"model": "org/nothing"}),
    "pull.cancel": Shape(pull.CancelPullBody, {"model": "org/nothing"}),
    "push": Shape(create.NameBody, {"model": "demo"}),
    "create": Shape(create.CreateBody, {"model": "made", "from": "demo", "system": "Be brief."}),
    "copy": Shape(create.CopyBody, {"source": "demo", "destination": "copied"}),
    "requests.cancel": Shape(cancelling.CancelBody, {"id": "nothing"}),
    "routes.explain": Shape(explaining.ExplainBody, {"model": "demo", "prompt": "hello"}),
    "efficiency.choose": Shape(efficiency.EfficiencyBody, {"mode": "Balanced"}),
    "delete": Shape(create.NameBody, {"model": "copied"}),
    "openai.chat": Shape(openai.ChatBody, {"model": "demo", "messages": TURNS, "max_tokens": 2}),
    "openai.completions": Shape(
        completions.CompletionBody, {"model": "demo", "prompt": "hello", "max_tokens": 2}
    ),
    "openai.responses": Shape(
        response_requests.ResponsesBody, {"model": "demo", "input": "hello", "max_output_tokens": 2}
    ),
    "openai.embeddings": Shape(openai.EmbeddingsBody, {"model": "all-minilm", "input": "a"}),
    "openai.tokenize": Shape(tokens.TokenizeBody, {"model": "demo", "prompt": "hello"}),
    "openai.detokenize": Shape(tokens.DetokenizeBody, {"model": "demo", "tokens": [5, 6, 7]}),
    "anthropic.messages": Shape(
        anthropic.MessagesBody, {"model": "demo", "messages": TURNS, "max_tokens": 2}
    ),
    "anthropic.count": Shape(anthropic.CountBody, {"model": "demo", "messages": TURNS}),
}
"""By operation name."""


@cache
def _draw_of(operation: str, field: str) -> Draw:
    """Of one field of the body: plausible values, and all others."""
    typed = next(
        _of_type(each.type, 0) for each in _fields_of(SHAPES[operation].type) if each.encode_name == field
    )
    if (operation, field) in OWN:
        return OWN[operation, field]
    plausible = NAMED.get(field, typed)
    return plausible if field == "keep_alive" else one_of(plausible, plausible, typed, values)


@cache
def _fields_of(struct: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _of_type(kind: inspect.Type, depth: int) -> Draw:
    match kind:
        case inspect.UnionType():
            return one_of(*(_of_type(each, depth) for each in kind.types))
        case inspect.NoneType():
            return given(None)
        case inspect.BoolType():
            return given(True, False)
        case inspect.StrType():
            return texts
        case inspect.IntType() | inspect.FloatType():
            return numbers
        case inspect.ListType():
            return listed(_of_type(kind.item_type, depth + 1))
        case inspect.DictType():
            return keyed(texts, values)
        case inspect.StructType() if depth < 8:
            return fields(**{each.encode_name: _part_of(each, depth + 1) for each in kind.fields})
        case _:
            return values


def _part_of(field: inspect.Field, depth: int) -> Draw:
    typed = _of_type(field.type, depth)
    return one_of(typed, NAMED[field.encode_name], scalars) if field.encode_name in NAMED else typed


def an_object(random: Random, operation: str) -> dict[str, Json]:
    """A body of the operation that works, but for up to three fields."""
    shape = SHAPES[operation]
    body = dict(shape.good)
    names = [field.encode_name for field in _fields_of(shape.type)]
    if "stream" in names:
        body["stream"] = random.random() < 0.5
    for _ in range(random.randint(0, 3)):
        name = random.choice(names)
        body[name] = _draw_of(operation, name)(random)
    if random.random() < 0.1:
        body.pop(random.choice(names), None)
    return body


# --- Texts --------------------------------------------------------------------------------------------------

_NUMBERS = (b"1e999", b"-1e999", b"NaN", b"-", b"00", b"1.", b".5", b"0x10", b"9" * 6000, b"1e-999", b"+1")
_NOISE = (
    b"\xff\xfe",
    b"\xc3",
    b"\x00",
    b"\xed\xa0\x80",
    b"}",
    b"\\",
    b'"',
    b"\\u12",
    b"\\ud800",
    b"\n",
    b"/**/",
)
_PLACES = (b'"x":', b'"messages":', b'"options":', b'"input":', b'"format":', b'"tools":', b'"metadata":')
_TWICE = (b'"model":1', b'"model":"nope"', b'"messages":[]', b'"":""', b'"stream":{}')
_INSTEAD = (
    b"",
    b" \r\n",
    b"\x00",
    b"null",
    b"[]",
    b"0",
    b'"demo"',
    b"{}",
    b"[{}]",
    b"model=demo&prompt=x",
    b"\xff" * 9,
)
_BEHIND = (b"x", b",", b"\x00", b"{}", b"\n\n", b"]")


def _cut(random: Random, body: bytes) -> bytes:
    return body[: random.randint(0, len(body))]


def _noisy(random: Random, body: bytes) -> bytes:
    at = random.randint(0, len(body))
    return body[:at] + random.choice(_NOISE) + body[at:]


def _odd_number(random: Random, body: bytes) -> bytes:
    return re.sub(rb"(?<=[:\[ ])-?\d+", random.choice(_NUMBERS), body, count=random.randint(1, 3))


def _nested(random: Random, body: bytes) -> bytes:
    levels = random.choice((50, 300, 1100, 5000))
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")))
    nest = random.choice(_PLACES) + opening * levels + b"1" + closing * levels
    return b"{" + nest + b"," + body[1:]


def _twice(random: Random, body: bytes) -> bytes:
    again = random.choice(_TWICE)
    return b"{" + again + b"," + body[1:-1] + b"," + again + b"}"


def _other_letters(random: Random, body: bytes) -> bytes:
    return body.decode("utf-8", "replace").encode(
        random.choice(("utf-16", "utf-32-be", "utf-7", "utf-8-sig"))
    )


_TWISTS: Sequence[Callable[[Random, bytes], bytes]] = (
    *(_cut, _noisy, _odd_number, _nested, _twice, _other_letters),
    lambda random, body: random.choice(_INSTEAD),
    lambda random, body: b"[" + body + b"]",
    lambda random, body: body + random.choice(_BEHIND),
)
_TWISTED = 0.3


def a_body(random: Random, operation: str) -> bytes:
    """As it goes over the wire, whole or not."""
    plain = json.dumps(an_object(random, operation), ensure_ascii=random.random() < 0.5)
    body = plain.encode("utf-8", "surrogatepass")
    return random.choice(_TWISTS)(random, body) if random.random() < _TWISTED else body


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 1),
    "zstd": zstandard.compress,
    "x-gzip": lambda body: gzip.compress(body, 1)[:-5],
    "deflate": lambda body: body,
    "gzip, gzip": lambda body: gzip.compress(body, 1),
    "identity": lambda body: body,
}
"""Content-Encoding -> what is sent under that name, whole or broken."""
