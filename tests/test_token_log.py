"""Which token belongs to which piece of an answer: no token twice, none lost, whatever is held back."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tokenizer_kinds import KINDS, SPECIAL, TAGS, byte_level, spec_of
from tokenizers import Tokenizer

from inference.events import Event, ReasoningDelta, TextDelta
from inference.output_parser import OutputParser
from inference.token_log import PlacedParser, TokenLog
from inference.tokenizer import TextCodec
from inference.tools.channels import CHANNELS
from inference.tools.families import FAMILIES
from inference.tools.hermes import HERMES
from inference.types import Tool

TOOLS = (Tool(name="f"),)
CALL = '{"name": "f", "arguments": {"city": "Zürich"}}'


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> TextCodec:
    return TextCodec.open(spec_of(tmp_path_factory.mktemp("model"), byte_level()))


def ids_of_bytes(codec: TextCodec, text: str) -> list[int]:
    """One token for each byte: so that every text can be cut anywhere."""
    single = {codec.bytes.of(id): id for id in range(codec.vocab_size - len(TAGS))}
    return [single[bytes([byte])] for byte in text.encode()]


def read(codec: TextCodec, ids: list[int], **changes: Any) -> list[Event]:
    """The events of an answer; the log probability of each token is its number."""
    fields = {"thinking": True, "starts_in_thinking": False, "tools": TOOLS, "stop": (), **changes}
    parser = PlacedParser(**fields)
    log = TokenLog(codec.decoder(), parser, codec.bytes)
    events = log.read((id, -float(place)) for place, id in enumerate(ids))
    return events if parser.done else events + log.rest()


def plain(codec: TextCodec, ids: list[int], **changes: Any) -> list[Event]:
    fields = {"thinking": True, "starts_in_thinking": False, "tools": TOOLS, "stop": (), **changes}
    parser, decoder = OutputParser(**fields), codec.decoder()
    events = parser.push(decoder.push(ids))
    if not parser.done:
        events += parser.push([tail] if (tail := decoder.flush()) else [])
        events += parser.finish()
    return events


def shown(events: list[Event]) -> list[TextDelta | ReasoningDelta]:
    return [event for event in events if isinstance(event, TextDelta | ReasoningDelta)]


def texts(events: list[Event]) -> list[tuple[str, str]]:
    return [(type(event).__name__, event.text) for event in shown(events)]


def check(codec: TextCodec, ids: list[int], **changes: Any) -> list[Event]:
    """The texts are the parser's own, and no token stands twice or out of order, or away from its text."""
    events = read(codec, ids, **changes)
    assert texts(events) == texts(plain(codec, ids, **changes))
    places = [token.logprob for event in shown(events) for token in event.tokens]
    assert all(later < earlier for earlier, later in pairwise(places))
    for event in shown(events):
        for token in event.tokens:
            assert 0 <= token.offset < len(event.text)
    return events


FRAGMENTS = (
    *("<think>", "</think>", "Zürich ", "😀", "STOP", "ST", "OP", " ", "\n", "words ", "日本", "<tool", "</"),
    *("<tool_call>", "</tool_call>", CALL, f"<tool_call>{CALL}</tool_call>", "[TOOL_CALLS]", f"[{CALL}]"),
    *("<|python_tag|>", "<|channel|>final<|message|>", "<|end|>", "<|start|>assistant", "[f(a=1)]", "[", "{"),
    *(
        "<|channel|>analysis<|message|>",
        "<|channel|>commentary to=functions.f <|message|>",
        "<|call|>",
        "functools",
    ),
)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_of_bytes_the_tokens_of_each_piece_are_its_text(codec: TextCodec, family: Any) -> None:
    numbers = random.Random(7)
    for _ in range(150):
        text = "".join(numbers.choice(FRAGMENTS) for _ in range(numbers.randrange(1, 9)))
        ids = ids_of_bytes(codec, text)
        stop = ("STOP", "rich") if numbers.random() < 0.5 else ()
        for event in shown(check(codec, ids, family=family, stop=stop, show_thoughts=numbers.random() < 0.8)):
            spelled = b"".join(token.spelled for token in event.tokens).decode()
            for tag in (*family.control, "[CALL_ID]"):  # what a malformed call leaves of them is no text
                spelled = spelled.replace(tag, "")
            assert spelled == event.text, text


@pytest.mark.parametrize("kind", KINDS)
def test_with_words_for_tokens_none_is_lost(tmp_path: Path, kind: str) -> None:
    codec = TextCodec.open(spec_of(tmp_path, KINDS[kind]()))
    numbers = random.Random(11)
    for _ in range(150):
        text = "".join(numbers.choice(FRAGMENTS) for _ in range(numbers.randrange(1, 9)))
        ids = codec.tokens_of(text, special=False)
        events = shown(check(codec, ids, family=HERMES, stop=("STOP",) if numbers.random() < 0.5 else ()))
        carried = b""  # a piece begins in its own first token, or in the last one before it
        for event in events:
            spelled = carried + b"".join(token.spelled for token in event.tokens)
            assert event.text.lstrip() in spelled.decode("utf-8", "replace")
            carried = event.tokens[-1].spelled if event.tokens else carried


def test_random_ids_never_raise_and_keep_every_token_that_shows(codec: TextCodec) -> None:
    numbers = random.Random(3)
    for _ in range(200):
        ids = [numbers.randrange(len(SPECIAL), codec.vocab_size - len(TAGS)) for _ in range(60)]
        events = check(codec, ids, thinking=False, tools=())
        assert sum(len(event.tokens) for event in shown(events)) == len(ids)


def test_a_token_of_which_a_stop_string_leaves_a_part_is_there_and_what_it_took_whole_is_not(
    codec: TextCodec,
) -> None:
    ids = codec.tokens_of("how do I pull a model and ask", special=False)
    events = shown(read(codec, ids, stop=("odel and",)))
    assert "".join(event.text for event in events) == "how do I pull a m"
    told = b"".join(token.spelled for event in events for token in event.tokens).decode()
    assert told.startswith("how do I pull a m")
    assert "and" not in told


def test_thoughts_and_content_have_their_own_and_tags_and_calls_none(codec: TextCodec) -> None:
    text = f"<think>\nhow do I\n</think>\n\npull <tool_call>{CALL}</tool_call>"
    events = read(codec, codec.tokens_of(text, special=False))
    told: dict[str, bytes] = {"ReasoningDelta": b"", "TextDelta": b""}
    for event in shown(events):
        told[type(event).__name__] += b"".join(token.spelled for token in event.tokens)
    assert told == {"ReasoningDelta": b"how do I\n", "TextDelta": b"pull "}
    assert len(events) == len(shown(events)) + 1  # the call


def test_control_tokens_are_in_no_piece(codec: TextCodec) -> None:
    tokenizer: Tokenizer = codec._tokenizer
    end = tokenizer.token_to_id("<|im_end|>")
    words = codec.tokens_of("how do I pull", special=False)
    (event, *more) = shown(read(codec, [end, *words, end]))
    assert b"".join(token.spelled for piece in (event, *more) for token in piece.tokens) == b"how do I pull"


def test_text_that_was_taken_for_a_header_keeps_its_tokens(codec: TextCodec) -> None:
    text = "<|channel|>commentary to=functions.f <|message|>no arguments <|constrain|> here"
    events = shown(check(codec, ids_of_bytes(codec, text), family=CHANNELS))
    told = b"".join(token.spelled for event in events for token in event.tokens).decode()
    assert "no arguments " in told
    assert told.endswith(" here")


TEXTS = ("Zürich grüßt 😀🎉", "日本語の文章", "a  b\n\tc", "naïve café")


@pytest.mark.parametrize(
    ("kind", "text"),
    [(kind, text) for kind in ("byte level", "byte fallback") for text in TEXTS] + [("metaspace", TEXTS[3])],
)
def test_the_bytes_of_all_tokens_are_the_text(tmp_path: Path, kind: str, text: str) -> None:
    codec = TextCodec.open(spec_of(tmp_path, KINDS[kind]()))
    spelled = b"".join(codec.bytes.of(id) for id in codec.tokens_of(text, special=False)).decode()
    assert (
        spelled.removeprefix(" ") == text
    )  # vocabularies of words begin with a space that a decoder takes away


def test_added_tokens_spell_themselves(codec: TextCodec) -> None:
    tokenizer: Tokenizer = codec._tokenizer
    assert codec.bytes.of(tokenizer.token_to_id("<think>")) == b"<think>"
    assert codec.bytes.of(10**6) == b""
