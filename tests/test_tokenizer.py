"""Exact prompt ids, control tokens that users type, and text of ids without a cut character."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from pathlib import Path

import pytest
from tokenizer_kinds import KINDS, SPECIAL, TAGS, byte_fallback, byte_level, metaspace, spec_of
from tokenizers import AddedToken, Tokenizer, processors

from inference.decoder import HELD_TOKENS, Decoder
from inference.errors import ModelDamaged
from inference.prompt import Prompt
from inference.tokenizer import INLINE_CHARS, PLAIN_WINDOW_CHARS, TextCodec

CLEAN = [
    "hello",
    " leading and trailing ",
    "日本語 😀🎉 Zürich ∑ and e\u0301",
    "👩‍👩‍👧‍👦👍🏽 family\n\n\ttabs  and   runs",
    "\ufffd a real replacement character \ufffd",
]


@pytest.fixture(scope="module", params=KINDS)
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextCodec:
    return TextCodec.open(spec_of(tmp_path_factory.mktemp("model"), KINDS[request.param]()))


def _reference(codec: TextCodec) -> Tokenizer:
    return codec._tokenizer


def _quoted(*parts: str) -> Prompt:
    """Template text and control strings of users, taking turns."""
    text, spans = "", []
    for index, part in enumerate(parts):
        if index % 2:
            spans.append((len(text), len(text) + len(part)))
        text += part
    return Prompt(text, tuple(spans))


def _joined(decoder: Decoder, ids: list[int]) -> str:
    return "".join(decoder.push(ids)) + decoder.flush()


@pytest.mark.parametrize(
    "text", ["<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n<think>\n", *CLEAN]
)
def test_a_prompt_without_quoted_text_has_the_ids_of_the_tokenizer(codec: TextCodec, text: str) -> None:
    assert codec.encode(Prompt(text)) == _reference(codec).encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    "parts",
    [
        ("<|im_start|>user\nsay ", "<|im_end|>", " now<|im_end|>\n"),
        ("<|im_start|>", "<|im_start|>", "<|im_end|>"),
        ("", "<|im_end|>", ""),
        ("hello ", "<think>", " and ", "</think>", ""),
        ("<think>a<|im_end|>hello", "<|im_start|>", "", "<|im_end|>", " world<|im_end|>how do I<|im_end|>"),
        ("<|im_start|>a<|im_", "<|im_start|>", "start|> b<|im_end|>"),
    ],
)
def test_control_strings_of_users_become_text(codec: TextCodec, parts: tuple[str, ...]) -> None:
    tokenizer, prompt = _reference(codec), _quoted(*parts)
    ids = codec.encode(prompt)
    control = [id for id in ids if tokenizer.id_to_token(id) in (*SPECIAL[1:], *TAGS)]
    template = "".join(parts[::2])
    assert (
        control
        == [
            id
            for id in tokenizer.encode(template, add_special_tokens=False).ids
            if tokenizer.id_to_token(id) in (*SPECIAL[1:], *TAGS)
        ]
        or "<|im_<|im_" in prompt.text
    )
    if "<unk>" not in [tokenizer.id_to_token(id) for id in ids]:
        shown = tokenizer.decode(ids, skip_special_tokens=False)
        assert shown.replace(" ", "") == prompt.text.replace(" ", "")


def test_quoted_text_keeps_every_space_on_byte_level(tmp_path: Path) -> None:
    codec = TextCodec.open(spec_of(tmp_path, byte_level()))
    prompt = _quoted("<|im_start|>user\n  say ", "<|im_end|>", "  twice ", "<|im_end|>", "<|im_end|>\n")
    ids = codec.encode(prompt)
    assert _reference(codec).decode(ids, skip_special_tokens=False) == prompt.text


def test_metaspace_puts_no_space_into_the_middle_of_a_prompt(tmp_path: Path) -> None:
    codec = TextCodec.open(spec_of(tmp_path, metaspace()))
    ids = codec.encode(_quoted("<|im_end|>how", "<|im_start|>", " do<|im_end|>"))
    tokens = [_reference(codec).id_to_token(id) for id in ids]
    assert tokens[0] == tokens[-1] == "<|im_end|>"
    assert not tokens[1].startswith("▁"), tokens
    first = codec.encode(_quoted("how", "<|im_start|>", " do" * PLAIN_WINDOW_CHARS))
    assert _reference(codec).id_to_token(first[0]).startswith("▁")
    assert _reference(codec).decode(first).startswith("how")


def test_long_quoted_text_loses_nothing_where_it_is_cut(tmp_path: Path) -> None:
    codec = TextCodec.open(spec_of(tmp_path, byte_level()))
    for filler in ("how do I ask  ", "x" * 50):
        prompt = _quoted(filler * (3 * PLAIN_WINDOW_CHARS // len(filler)), "<|im_end|>", filler * 10)
        ids = codec.encode(prompt)
        assert _reference(codec).decode(ids, skip_special_tokens=False) == prompt.text


def test_white_space_beside_a_control_token_that_swallows_it_is_gone(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens([AddedToken("<|user|>", rstrip=True), AddedToken("<|end|>", lstrip=True)])
    codec = TextCodec.open(spec_of(tmp_path, tokenizer))
    ids = codec.encode(_quoted("<|user|>\n a", "<|im_end|>", "b \n<|end|>"))
    assert _reference(codec).decode(ids, skip_special_tokens=False) == "<|user|>a<|im_end|>b<|end|>"
    ids = codec.encode(_quoted("<|im_start|> a", "<|im_end|>", "b <|im_start|>"))
    assert (
        _reference(codec).decode(ids, skip_special_tokens=False) == "<|im_start|> a<|im_end|>b <|im_start|>"
    )


def test_a_long_text_is_encoded_outside_of_the_loop(tmp_path: Path) -> None:
    threads = []

    class Recording(TextCodec):
        def encode(self, prompt: Prompt) -> list[int]:
            threads.append(threading.current_thread())
            return super().encode(prompt)

    codec = Recording.open(spec_of(tmp_path, byte_level()))
    for text in ("short", "x" * (INLINE_CHARS + 1)):
        assert asyncio.run(codec.encode_async(Prompt(text))) == codec.encode(Prompt(text))
    assert threads[0] is threading.main_thread()
    assert threads[2] is not threading.main_thread()


def test_texts_are_counted_with_the_tokenizers_own_tokens_and_cut_where_they_do_not_fit(
    tmp_path: Path,
) -> None:
    tokenizer = byte_level()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
    )
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(4)
    codec = TextCodec.open(spec_of(tmp_path, tokenizer))
    text = "how do I pull a model"
    plain = codec.encode(Prompt(text))
    assert len(plain) > 4
    assert codec.fit([text, ""], 4096) == [([1, *plain, 2], len(plain) + 2), ([1, 2], 2)]
    assert codec.fit([text], 5) == [([1, *plain[:3], 2], len(plain) + 2)]
    assert codec.fit([text], 1) == [([1, 2], len(plain) + 2)]
    own = "<|im_start|>" + text  # a control token that the text itself has is cut as any other
    assert codec.fit([own], 4) == [([1, 1, plain[0], 2], len(plain) + 3)]
    long = f"{text} " * 1000
    cut, count = codec.fit([long], 20)[0]
    assert cut == [1, *codec.encode(Prompt(long))[:18], 2]
    assert 20 < count < len(codec.encode(Prompt(long))), "only the beginning was to be looked at"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, set()),
        ({"generation_config.json": {"eos_token_id": 2}}, {2}),
        ({"generation_config.json": {"eos_token_id": [2, 0]}, "config.json": {"eos_token_id": 7}}, {2, 0}),
        ({"generation_config.json": {}, "config.json": {"eos_token_id": 7}}, {7}),
        ({"tokenizer_config.json": {"eos_token": "<|im_end|>"}}, {2}),
        ({"tokenizer_config.json": {"eos_token": {"content": "<|im_end|>"}}}, {2}),
        ({"tokenizer_config.json": {"eos_token": "no such token"}}, set()),
        (
            {
                "generation_config.json": {"eos_token_id": 0},
                "tokenizer_config.json": {"eos_token": "<|im_end|>"},
            },
            {0, 2},
        ),
    ],
)
def test_the_answer_ends_where_any_file_says(
    tmp_path: Path, files: dict[str, dict[str, object]], expected: set[int]
) -> None:
    spec = spec_of(tmp_path, byte_level())
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert TextCodec.open(spec).eos_ids == expected


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("tokenizer.json", None, "is missing"),
        ("tokenizer.json", "{", "is not a tokenizer"),
        ("tokenizer.json", '{"added_tokens": [], "model": {"type": "New"}}', "is not a tokenizer"),
        ("tokenizer.json", "\udcff", "is not a tokenizer"),
        ("generation_config.json", "[1]", "is not a JSON object"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, file: str, content: str | None, fault: str) -> None:
    spec = spec_of(tmp_path, byte_level())
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ModelDamaged) as error:
        TextCodec.open(spec)
    assert (error.value.file, str(tmp_path) in str(error.value)) == (file, False)
    assert fault in str(error.value)


@pytest.mark.parametrize("text", CLEAN)
def test_pieces_of_clean_text_are_whole_characters_and_join_to_the_text(codec: TextCodec, text: str) -> None:
    tokenizer = _reference(codec)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    decoder = codec.decoder()
    pieces = decoder.push(ids)
    assert "".join(pieces) + decoder.flush() == tokenizer.decode(ids)
    if "\ufffd" not in text:
        assert all(pieces)
        assert not any("\ufffd" in piece for piece in pieces)


def test_each_token_is_shown_when_it_comes(codec: TextCodec) -> None:
    decoder = codec.decoder()
    ids = codec.encode(Prompt("how do I pull a model"))
    assert [len(decoder.push([id])) for id in ids] == [1] * len(ids)


def test_random_ids_never_raise_and_give_back_all_text_of_clean_stretches(codec: TextCodec) -> None:
    tokenizer, random_ids = _reference(codec), random.Random(7)
    clean = tokenizer.encode(" weather in the question", add_special_tokens=False).ids
    for _ in range(60):
        noise = [random_ids.randrange(codec.vocab_size + 20) for _ in range(random_ids.randrange(1, 60))]
        decoder = codec.decoder()
        pieces = decoder.push([*noise, *clean])
        assert max(map(len, (decoder._context, decoder._held))) <= HELD_TOKENS
        assert ("".join(pieces) + decoder.flush()).endswith("weather in the question")


def test_random_ids_give_the_text_of_the_one_shot_decode_on_byte_level(tmp_path: Path) -> None:
    codec = TextCodec.open(spec_of(tmp_path, byte_level()))
    numbers = random.Random(11)
    for _ in range(200):
        ids = [numbers.randrange(3, codec.vocab_size - len(TAGS)) for _ in range(numbers.randrange(1, 90))]
        assert _joined(codec.decoder(), ids) == _reference(codec).decode(ids)


@pytest.mark.parametrize("kind", ["byte level", "byte fallback"])
def test_broken_bytes_are_held_for_a_bounded_time_and_all_shown(tmp_path: Path, kind: str) -> None:
    codec = TextCodec.open(spec_of(tmp_path, KINDS[kind]()))
    continuation = _reference(codec).token_to_id("ģ" if kind == "byte level" else "<0x81>")
    decoder = codec.decoder()
    for _ in range(300):
        decoder.push([continuation])
        assert len(decoder._held) <= HELD_TOKENS
    decoder = codec.decoder()
    assert _joined(decoder, [continuation] * 300) == "\ufffd" * 300


@pytest.mark.parametrize("kind", ["byte level", "byte fallback"])
def test_a_character_after_broken_bytes_is_not_cut(tmp_path: Path, kind: str) -> None:
    codec = TextCodec.open(spec_of(tmp_path, KINDS[kind]()))
    names = ["Ł", "ģ"] if kind == "byte level" else ["<0xF0>", "<0x81>"]
    broken = [_reference(codec).token_to_id(name) for name in names][1]
    emoji = _reference(codec).encode("😀", add_special_tokens=False).ids[-4:]
    for count in range(1, 2 * HELD_TOKENS + 2):
        assert _joined(codec.decoder(), [broken] * count + emoji) == "\ufffd" * count + "😀"


def test_control_tokens_are_not_shown_and_the_parsers_tags_are(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<tool_call>"])
    codec = TextCodec.open(spec_of(tmp_path, tokenizer))
    ids = codec.encode(Prompt("<think>a</think><tool_call>b<|im_end|>"))
    assert _joined(codec.decoder(), ids) == "<think>a</think><tool_call>b"


def test_flush_shows_the_half_character_that_an_answer_ends_with(tmp_path: Path) -> None:
    codec = TextCodec.open(spec_of(tmp_path, byte_fallback()))
    decoder = codec.decoder()
    assert decoder.push(codec.encode(Prompt("a😀"))[:-1]) == ["a"]
    assert [decoder.flush(), decoder.flush()] == ["\ufffd" * 3, ""]
