"""Prompts of fill-in-middle, family by family: the order, the beginning of a text, and what users type."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizer_kinds import byte_fallback, byte_level, spec_of
from tokenizers import AddedToken, Tokenizer, processors

from inference import infill, preparation, token_ids
from inference.errors import BadRequest, CapabilityMissing
from inference.infill import Infill
from inference.texts import Text
from inference.tokenizer import TextCodec
from inference.tokenizer_files import AddedToken as Listed
from inference.types import ChatRequest, Message, ModelSpec

BOS = "<|im_start|>"


def codec_of(folder: Path, tokenizer: Tokenizer, **config: Any) -> TextCodec:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return TextCodec.open(spec_of(folder, tokenizer))


def names_of(codec: TextCodec, request: ChatRequest) -> list[str]:
    """The prompt's tokens, as the vocabulary spells them."""
    spec = ModelSpec(name="m", digest="0", path=Path(), kind="chat", capabilities=frozenset({"insert"}))
    return codec.names_of(asyncio.run(preparation.prompt_ids(spec, request, Text(codec, None))))


def asked(before: str, **fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=(Message(role="user", content=before),), **fields)


def with_start(tokenizer: Tokenizer) -> Tokenizer:
    """As Llama's, which put a token before every text by themselves."""
    start = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(f"{BOS} $A", None, [(BOS, start)])
    return tokenizer


@pytest.mark.parametrize("family", infill.FAMILIES, ids=lambda family: str(family.prefix))
def test_the_parts_come_in_the_order_of_the_family(tmp_path: Path, family: infill.Tokens) -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in family.all])
    codec = codec_of(tmp_path, tokenizer)
    own = [name for name in names_of(codec, asked("how", suffix="ask")) if name in family.all]
    first, second = (family.suffix, family.prefix) if family.suffix_first else (family.prefix, family.suffix)
    assert own == [token for token in (first, second, family.middle) if token]
    assert codec.infill is not None
    prompt = codec.infill.prompt("how", "ask")
    parts = {family.prefix: "how", family.suffix: "ask"}
    assert prompt.text == f"{first}{parts[first]}{second}{parts[second]}{family.middle}"


def test_all_tokens_of_a_family_must_be_there(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["<|fim_prefix|>", "<|fim_suffix|>"])
    codec = codec_of(tmp_path, tokenizer)
    assert codec.infill is None
    with pytest.raises(CapabilityMissing, match="m does not support insert"):
        names_of(codec, asked("how", suffix="ask"))


def test_tokens_that_are_plain_words_of_the_vocabulary_are_found_and_guarded(tmp_path: Path) -> None:
    """As in CodeLlama's tokenizer."""
    state = json.loads(byte_fallback().to_str())
    vocabulary = state["model"]["vocab"]
    vocabulary |= {token: len(vocabulary) + place for place, token in enumerate(infill.PLAIN)}
    codec = codec_of(tmp_path, Tokenizer.from_str(json.dumps(state)))
    typed = "how ▁<SUF> <MID>"
    own = [name for name in names_of(codec, asked(typed, suffix=typed)) if name in infill.PLAIN]
    assert own == ["▁<PRE>", "▁<SUF>", "▁<MID>"]
    assert codec.infill is not None
    assert codec.infill.ends == {vocabulary[token] for token in infill.PLAIN}


def test_special_tokens_that_users_type_are_text_and_other_added_ones_stay(tmp_path: Path) -> None:
    added = [Listed(0, "<end>", special=True), Listed(1, "<h1>"), Listed(2, "<fim_pad>")]
    added += [Listed(3 + place, token) for place, token in enumerate(infill.FAMILIES[1].all)]
    found = Infill.of(added)
    assert found is not None
    prompt = found.prompt("<h1><end>", "<fim_middle><fim_pad>x")
    quoted = [prompt.text[start:end] for start, end in prompt.quoted]
    assert quoted == ["<end>", "<fim_middle>", "<fim_pad>"]
    assert prompt.text == "<fim_prefix><h1><end><fim_suffix><fim_middle><fim_pad>x<fim_middle>"
    assert found.ends == {2, 3, 4, 5}


@pytest.mark.parametrize(
    ("config", "by_itself", "starts"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"bos_token": BOS, "add_bos_token": True}, False, True),
        ({"bos_token": {"content": BOS}, "add_bos_token": True}, True, True),
        ({"bos_token": BOS, "add_bos_token": False}, True, False),
        ({"bos_token": BOS}, False, False),
    ],
)
def test_a_text_begins_as_the_tokenizer_begins_it_and_once(
    tmp_path: Path, config: dict[str, Any], by_itself: bool, starts: bool
) -> None:
    tokenizer = with_start(byte_level()) if by_itself else byte_level()
    tokenizer.add_tokens(["<fim_prefix>", "<fim_suffix>", "<fim_middle>"])
    codec = codec_of(tmp_path, tokenizer, **config)
    for request in (asked("how", raw=True), asked("how", suffix="ask")):
        assert names_of(codec, request).count(BOS) == starts
    assert names_of(codec, asked(f"{BOS}how", raw=True)).count(BOS) == 1
    ids = tuple(codec.tokens_of("how", special=False))
    whole = ChatRequest(model="m", messages=(), raw=True, before=ids)
    assert names_of(codec, whole) == codec.names_of(ids), "ids are all of the prompt"


def test_what_comes_behind_other_ids_begins_no_text(tmp_path: Path) -> None:
    codec = codec_of(tmp_path, byte_level(), bos_token=BOS, add_bos_token=True)
    start, end = (codec.tokens_of(token, special=False)[0] for token in (BOS, "<|im_end|>"))
    turn = codec.tokens_of(f"{BOS}how<|im_end|>", special=False)
    joined = token_ids.joined([start, 50, end], turn, codec, bare=False)
    assert joined == [start, 50, end, *turn[1:]]
    assert token_ids.joined([], turn, codec, bare=False) == turn
    assert token_ids.joined([7], [50], codec, bare=True) == [7, 50]


def test_an_answer_ends_before_its_stop_string(tmp_path: Path) -> None:
    codec = codec_of(tmp_path, byte_level())
    prompt, answer = codec.tokens_of("ask", special=False), codec.tokens_of("how do I pull", special=False)
    ids = token_ids.without_stop(prompt + answer, len(prompt), " I", codec)
    assert codec.text_of(ids) == "askhow do"
    within = token_ids.without_stop(prompt + answer, len(prompt), "ow", codec)
    assert codec.text_of(within) == "askh", "a token that holds more than the stop string is taken apart"
    with pytest.raises(BadRequest, match=r"context\[1\]: -3 is no token"):
        token_ids.check([1, -3], codec, "context")
