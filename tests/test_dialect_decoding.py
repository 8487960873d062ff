"""Bodies are read as Go reads them: what passes, what does not, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from compat_api.decoding import BodyDecoder
from inference.errors import BadRequest


class Part(Struct):
    content: str | None = None
    count: int | None = None


class Body(Struct):
    stream: bool | None = None
    parts: list[Part] | None = None
    options: dict[str, Any] | None = None
    temperature: float | None = None


decode = BodyDecoder(Body, "ChatRequest", "missing request body")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", Body()),
        (b' \n{"stream": null, "other": {"deep": [1]}}\n', Body()),
        (b'{"stream":true,"temperature":1}', Body(stream=True, temperature=1.0)),
        (b'{"parts":[{"content":"\\u00e9 \\ud83d\\ude00"}]}', Body(parts=[Part("é 😀")])),
        (b'{"parts":[{"content":"half \\ud83d!"}]}', Body(parts=[Part("half \ufffd!")])),
        (b'{"parts":[{"content":"\\\\ud83d \\udc00"}]}', Body(parts=[Part("\\ud83d \ufffd")])),
        (b'{"parts":[{"content":"latin \xe9"}]}', Body(parts=[Part("latin \ufffd")])),
        (b'{"parts":[{"content":"nul \\u0000"}]}', Body(parts=[Part("nul \x00")])),
    ],
)
def test_what_passes(body: bytes, value: Body) -> None:
    assert decode(body) == value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b"{", "unexpected EOF"),
        (b'{"stream":tru', "unexpected EOF"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b'{"stream":}', "invalid character '}' looking for beginning of value"),
        (b'{"stream" true}', "invalid character 't' after object key"),
        (b'{"stream":true "a":1}', "invalid character '\"' after object key:value pair"),
        (b'{"parts":[{} {}]}', "invalid character '{' after array element"),
        (b"{stream:true}", "invalid character 's' looking for beginning of object key string"),
        (b'{"stream":true,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"stream":true}}', "invalid character '}' after top-level value"),
        (b'{"parts":[{"content":"\n"}]}', "invalid character '\\n' looking for beginning of value"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b"null", "json: cannot unmarshal null into Go value of type api.ChatRequest"),
        (b'"text"', "json: cannot unmarshal string into Go value of type api.ChatRequest"),
        (
            b'{"stream":"x"}',
            "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool",
        ),
        (
            b'{"parts":[{},{"content":[1]}]}',
            "json: cannot unmarshal array into Go struct field ChatRequest.parts.content of type string",
        ),
        (
            b'{"parts":[{"count":1.5}]}',
            "json: cannot unmarshal number into Go struct field ChatRequest.parts.count of type int",
        ),
        (
            b'{"temperature":"hot"}',
            "json: cannot unmarshal string into Go struct field ChatRequest.temperature of type float64",
        ),
        (
            b'{"options":[]}',
            "json: cannot unmarshal array into Go struct field ChatRequest.options of type object",
        ),
        (b'{"temperature":1e999}', 'Number out of range - at "temperature"'),
        (b'{"options":{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "exceeded max depth"),
    ],
)
def test_what_does_not(body: bytes, words: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        decode(body)
    assert str(refusal.value) == words


def test_a_wrong_type_names_its_field() -> None:
    with pytest.raises(BadRequest) as refusal:
        decode(b'{"parts":[{"content":1}]}')
    assert refusal.value.field == "parts.content"


def test_a_mended_body_is_checked_like_any_other() -> None:
    with pytest.raises(BadRequest, match=r"cannot unmarshal number into .* ChatRequest\.parts\.content"):
        decode(b'{"options":{"text":"\\ud83d"},"parts":[{"content":1}]}')
