"""However an answer is cut into pieces, by steps of the engine or by tokens, its text and its events are the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsed_events import Seen, seen
from tokenizer_kinds import KINDS, spec_of

from inference.output_parser import OutputParser
from inference.thinking import THINK
from inference.tokenizer import TextCodec
from inference.tools.families import FAMILIES
from inference.types import Tool

TOOL = Tool(name="f", parameters={})
TAGS = sorted(
    {tag for family in FAMILIES.values() for tag in (*family.tags, *family.opens, THINK.open, THINK.close)}
)
texts = st.lists(
    st.one_of(
        st.sampled_from(TAGS),
        st.sampled_from(
            ('{"name": "f", "arguments": {}}', "f(a=1)", "END", "E", "a", " ", "\n", '"', "{", "]", "ü")
        ),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)
options = st.fixed_dictionaries(
    {
        "thinking": st.booleans(),
        "starts_in_thinking": st.booleans(),
        "show_thoughts": st.booleans(),
        "one_call": st.booleans(),
        "tools": st.sampled_from(((), (TOOL,))),
        "stop": st.lists(st.sampled_from(("END", "E", "aa", "\n", '"}', "<", "ü")), max_size=3).map(tuple),
    }
)
places = st.lists(st.integers(0, 300), max_size=12)


def cut(whole: Any, at: list[int]) -> list[Any]:
    edges = sorted({0, len(whole), *(place % (len(whole) + 1) for place in at)})
    return [whole[a:b] for a, b in pairwise(edges)]


def parsed(pieces: list[str], family: str, **given: Any) -> tuple[Seen, str | None]:
    parser = OutputParser(family=FAMILIES[family], **given)
    events = [event for piece in pieces for event in parser.push([piece])]
    return seen(events + parser.finish()), parser.stop_sequence


@settings(max_examples=600, deadline=None)
@given(texts, places, st.sampled_from(sorted(FAMILIES)), options)
def test_the_events_do_not_depend_on_the_cuts(
    said: str, at: list[int], family: str, given: dict[str, Any]
) -> None:
    expected = parsed([said], family, **given)
    assert parsed(cut(said, at), family, **given) == expected
    assert parsed(list(said), family, **given) == expected
    shown = "".join(str(event[1]) for event in expected[0] if event[0] == "text")
    assert not [stop for stop in given["stop"] if stop in shown and expected[1]]


@pytest.fixture(scope="module", params=sorted(KINDS))
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextCodec:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return TextCodec.open(spec_of(folder, KINDS[request.param]()))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), said=st.text(max_size=12), at=places)
def test_the_text_does_not_depend_on_the_steps_in_which_tokens_come(
    codec: TextCodec, data: st.DataObject, said: str, at: list[int]
) -> None:
    """Ids of a text, and any ids at all, whose bytes need not make a character."""
    noise = data.draw(st.lists(st.integers(0, codec.vocab_size + 5), max_size=20))
    ids = [*noise, *codec.tokens_of(said, False)]
    whole = codec.decoder()
    expected = "".join(whole.push(ids)) + whole.flush()
    for steps in (cut(ids, at), [[id] for id in ids]):
        decoder = codec.decoder()
        assert "".join("".join(decoder.push(step)) for step in steps) + decoder.flush() == expected
