"""Whatever JSON says, or what is none: a dialect makes a request of it, or says in words why it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hostile_bodies import SHAPES, a_body
from hypothesis import given, settings
from hypothesis import strategies as st

from compat_api import anthropic, cancelling, efficiency, embeddings, errors, explaining, generation, ollama
from compat_api.dialect import Preload, Several
from compat_api.ollama import catalogue, create, pull
from compat_api.openai import tokens
from inference.errors import BadRequest, ModelNotFound
from inference.types import ChatRequest, EmbedRequest

PARSERS: dict[str, Callable[[bytes], Any]] = {
    **{name: dialect.parse for name, dialect in generation.DIALECTS.items()},
    **{name: dialect.parse for name, dialect in embeddings.DIALECTS.items()},
    "anthropic.count": anthropic.parse_count,
    "openai.tokenize": tokens.parse_tokenize,
    "openai.detokenize": tokens.parse_detokenize,
    "show": catalogue.parse_show,
    "pull": pull.parse,
    "pull.cancel": pull.parse_cancel,
    "push": create.parse_push,
    "create": create.parse_create,
    "copy": create.parse_copy,
    "efficiency.choose": efficiency._decode,
    "delete": create.parse_delete,
    "requests.cancel": cancelling._decode,
    "routes.explain": explaining._decode,
}
GENERATED = (ChatRequest, Preload, Several)


def test_every_body_that_is_drawn_has_a_parser() -> None:
    assert set(PARSERS) == set(SHAPES)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.randoms(use_true_random=False))
def test_any_body_is_a_request_or_a_refusal(operation: str, random: Random) -> None:
    check(operation, a_body(random, operation))


def test_ten_thousand_bodies_are_requests_or_refusals() -> None:
    """As above, drawn in a second: what hypothesis finds smaller it finds here first."""
    random = Random(11435)
    for _ in range(10_000):
        operation = random.choice(sorted(SHAPES))
        check(operation, a_body(random, operation))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.binary(max_size=60))
def test_any_bytes_are_a_refusal_at_most(operation: str, body: bytes) -> None:
    check(operation, body)


def check(operation: str, body: bytes) -> None:
    try:
        parsed = PARSERS[operation](body)
    except (BadRequest, ModelNotFound) as refusal:
        str(refusal).encode()  # raises for half of a surrogate pair, which no answer could carry
        return
    except Exception as error:
        error.add_note(f"{operation}: {body!r}")
        raise
    if operation in generation.DIALECTS:
        assert isinstance(parsed, GENERATED)
    elif operation in embeddings.DIALECTS:
        assert isinstance(parsed, EmbedRequest)


# --- What was found so --------------------------------------------------------------------------------------

TURN = {"role": "user", "content": "hello"}
HALF = b'{"const":"\xed\xa0\x80 \xff \\ud800"}'
"""Three ways to write what is no character."""
MENDED = '{"const":"\ufffd\ufffd\ufffd \ufffd \\ufffd"}'


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("chat", b'{"model":"m","messages":[{"role":"user"}],"format":%b}'),
        ("generate", b'{"model":"m","prompt":"a","format":%b}'),
        (
            "openai.chat",
            b'{"model":"m","messages":[{"role":"user","content":"a"}],'
            b'"response_format":{"type":"json_schema","json_schema":{"schema":%b}}}',
        ),
        (
            "openai.responses",
            b'{"model":"m","input":"a","text":{"format":{"type":"json_schema","schema":%b}}}',
        ),
    ],
)
def test_a_schema_with_broken_characters_is_mended_like_the_rest_of_a_body(
    operation: str, body: bytes
) -> None:
    parsed = PARSERS[operation](body % HALF)
    assert parsed.constraint.schema == MENDED


def test_a_format_that_is_none_is_refused_whatever_its_letters() -> None:
    with pytest.raises(BadRequest, match="invalid format"):
        ollama.CHAT.parse(b'{"model":"m","messages":[{"role":"user"}],"format":"\xff"}')


@pytest.mark.parametrize("name", ["temperature", "num_predict"])
def test_an_option_too_large_for_any_number_is_of_the_wrong_type(name: str) -> None:
    body = {"model": "m", "prompt": "a", "options": {name: 10**400}}
    with pytest.raises(BadRequest, match=f'option "{name}" must be of type'):
        ollama.GENERATE.parse(json.dumps(body).encode())


def test_a_keep_alive_too_large_for_any_number_is_for_ever() -> None:
    for length, expected in ((10**400, float("inf")), (-(10**400), float("inf")), (1.5, 1.5)):
        parsed = ollama.GENERATE.parse(
            json.dumps({"model": "m", "prompt": "a", "keep_alive": length}).encode()
        )
        assert isinstance(parsed, ChatRequest)
        assert parsed.keep_alive_s == expected


@pytest.mark.parametrize("kind", [[], {}, [["message"]], 1, True])
def test_an_item_whose_type_is_no_text_is_an_unknown_one(kind: Any) -> None:
    body = {"model": "m", "input": [{"type": kind}]}
    with pytest.raises(BadRequest, match="unknown input item type"):
        PARSERS["openai.responses"](json.dumps(body).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metadata", {"a": 2**64}),
        ("tools", [{"type": "web_search", "a": -(2**64)}]),
        ("max_output_tokens", 10**30),
        ("metadata", json.loads('{"a":' + "[" * 300 + "]" * 300 + "}")),
        ("text", {"format": {"type": "text", "schema": {"a": 2**64}}}),
    ],
)
def test_what_a_response_could_not_repeat_is_refused_by_its_name(field: str, value: Any) -> None:
    body = {"model": "m", "input": "hello", field: value}
    with pytest.raises(BadRequest, match=field):
        PARSERS["openai.responses"](json.dumps(body).encode())


@pytest.mark.parametrize("token", ["hf_ü", "hf a", "hf\u0000"])
def test_a_token_that_no_header_can_carry_is_the_caller_s_fault_and_is_not_repeated(token: str) -> None:
    with pytest.raises(BadRequest, match="token") as refusal:
        pull.parse(json.dumps({"model": "org/model", "token": token}).encode())
    assert token not in str(refusal.value)


@pytest.mark.parametrize("operation", ["chat", "openai.chat", "openai.responses", "anthropic.messages"])
def test_too_many_messages_are_refused_before_anything_is_made_of_them(operation: str) -> None:
    field = "input" if operation == "openai.responses" else "messages"
    body = {"model": "m", "max_tokens": 1, field: [TURN | {"role": 5}] * 10_001}
    if operation in ("chat", "openai.chat", "anthropic.messages"):
        body[field] = [TURN | {"role": "", "content": ""}] * 10_001
    with pytest.raises(BadRequest, match="at most 10000 are accepted"):
        PARSERS[operation](json.dumps(body).encode())


def test_too_many_options_are_refused() -> None:
    options = {f"name{index}": index for index in range(1_001)}
    with pytest.raises(BadRequest, match="at most 1000 are accepted"):
        ollama.GENERATE.parse(json.dumps({"model": "m", "prompt": "a", "options": options}).encode())


def test_a_refusal_does_not_repeat_megabytes() -> None:
    with pytest.raises(BadRequest) as refusal:
        ollama.GENERATE.parse(json.dumps({"model": "m", "prompt": "a", "think": "x" * 10**6}).encode())
    message = errors.of(refusal.value).message
    assert len(message) < 5_000
    assert message.startswith("invalid think value")
    assert message.endswith("true, or false)")
