"""However an answer is cut on its way, whatever stands around its events: the same comes out of it.

What our own encoders write, and they write any answer, our readers read as it was.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from answers import answers, calls_in, finish_of, streamed, text_of, thoughts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from wire_calls import Events, called, ended, fed, joined, pieces, request, said, thought

from compat_api import anthropic, ollama, openai
from compat_api.dialect import Dialect
from compat_api.openai.logged import LoggedChatEncoder
from inference.backends.framing import MAX_BYTES, Lines
from inference.backends.wire import Reader, WireError
from inference.backends.wires import WIRES
from inference.events import Event, Finish, TextDelta
from inference.shown_token import Token

EVERY = pytest.mark.parametrize("protocol", sorted(WIRES))
SSE = pytest.mark.parametrize("protocol", ["anthropic", "openai"])
DIALECTS: dict[str, Dialect] = {"ollama": ollama.CHAT, "openai": openai.CHAT, "anthropic": anthropic.MESSAGES}
FEW = settings(max_examples=60, deadline=None)


def reader(protocol: str) -> Reader:
    return WIRES[protocol].reader(request(think=True))


def written(protocol: str, events: list[Event]) -> bytes:
    """What our server sends for these."""
    return streamed(DIALECTS[protocol], request(think=True, stream=True, include_usage=True), events)


def check(protocol: str, found: Events, events: list[Event]) -> None:
    finish = finish_of(events)
    assert (said(found), thought(found)) == (text_of(events), thoughts_of(events))
    assert called(found) == calls_in(events)
    end = ended(found)
    assert end.prompt_tokens == finish.prompt_tokens
    assert (end.completion_tokens or 0) == finish.completion_tokens  # Ollama leaves out what is 0
    calls_hide_it = protocol == "anthropic" and calls_in(events)
    assert end.reason == ("stop" if calls_hide_it else finish.reason)


@EVERY
@FEW
@given(events=answers, seed=st.integers(0, 2**32))
def test_what_our_encoders_write_is_read_as_it_was(protocol: str, events: list[Event], seed: int) -> None:
    data = written(protocol, events)
    found = fed(reader(protocol), [data])
    check(protocol, found, events)
    cuts = sorted(random.Random(seed).choices(range(len(data) + 1), k=5))
    parts = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert fed(reader(protocol), parts) == found
    assert fed(reader(protocol), pieces(data, 1)) == found


@EVERY
def test_a_stop_sequence_is_told_where_the_api_tells_it(protocol: str) -> None:
    events: list[Event] = [TextDelta("one"), _finish(stop_sequence="###")]
    assert ended(fed(reader(protocol), [written(protocol, events)])).stop_sequence == (
        "###" if protocol == "anthropic" else ""
    )


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
@FEW
@given(texts=st.lists(st.text("aé😀 ", min_size=1, max_size=6), min_size=1, max_size=4))
def test_log_probabilities_are_read_as_they_were(protocol: str, texts: list[str]) -> None:
    """Each character a token."""
    events: list[Event] = [
        TextDelta(text, tuple([Token(one.encode(), -at / 8, at) for at, one in enumerate(text)]))
        for text in texts
    ]
    asked = request(think=True, logprobs=True, stream=True)
    encoder = LoggedChatEncoder(asked) if protocol == "openai" else ollama.CHAT.encoder(asked)
    data = b"".join([encoder.event(event) for event in [*events, _finish()]])
    assert fed(WIRES[protocol].reader(asked), pieces(data, 7))[:-1] == events


def _finish(**fields: Any) -> Finish:
    finish = Finish(
        reason="stop",
        prompt_tokens=1,
        completion_tokens=2,
        total_s=0.5,
        load_s=0.25,
        prefill_s=0.1,
        decode_s=0.1,
    )
    return structs.replace(finish, **fields)


# --- what stands around the events --------------------------------------------------------------------------

SAID: list[Event] = [TextDelta("one\ntwo \u2028 é😀"), TextDelta("."), _finish()]


@EVERY
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_end_in_any_way_and_a_mark_may_stand_before_them(protocol: str, end: bytes, size: int) -> None:
    plain = written(protocol, SAID)
    data = b"\xef\xbb\xbf" + plain.replace(b"\n", end)
    assert joined(fed(reader(protocol), pieces(data, size))) == joined(fed(reader(protocol), [plain]))


@SSE
def test_comments_names_and_pings_say_nothing(protocol: str) -> None:
    plain = written(protocol, SAID)
    noise = b": keep-alive\n\n:\n\nid: 7\nretry: 10\n\nevent: ping\n\ndata\n\ndata:\n\n"
    blocks = [block + b"\n\n" for block in plain.split(b"\n\n") if block]
    data = noise + noise.join(blocks) + noise
    assert fed(reader(protocol), pieces(data, 5)) == fed(reader(protocol), [plain])
    assert fed(reader(protocol), [data.replace(b"data: {", b"data:{")]) == fed(reader(protocol), [plain])


@SSE
def test_data_of_several_lines_is_one_event(protocol: str) -> None:
    data = written(protocol, SAID).replace(b'"model":', b'\ndata: "model":')
    for cut in (data, data.replace(b"\n", b"\r\n")):
        for size in (1, 1000):
            assert fed(reader(protocol), pieces(cut, size)) == fed(
                reader(protocol), [written(protocol, SAID)]
            )


@EVERY
def test_what_follows_the_end_says_nothing(protocol: str) -> None:
    plain = written(protocol, SAID)
    found = reader(protocol)
    assert found.feed(plain + plain) == fed(reader(protocol), [plain])
    assert found.feed(plain) == found.end() == []


@EVERY
def test_an_answer_that_was_cut_off_is_a_failure_wherever_it_was_cut(protocol: str) -> None:
    data = written(protocol, [TextDelta("one"), TextDelta("two"), _finish(reason="length")])
    marks = {
        "ollama": b'"done":true',
        "openai": b'"finish_reason":"length"',
        "anthropic": b'"stop_reason":"max_tokens"',
    }
    last = data.index(marks[protocol])
    for at in range(0, last, 17):
        with pytest.raises(WireError):
            fed(reader(protocol), [data[:at]])


@SSE
def test_an_end_that_was_told_holds_without_the_last_word(protocol: str) -> None:
    data = written(protocol, [TextDelta("one"), _finish(reason="length")])
    last = {"openai": b"data: [DONE]\n\n", "anthropic": b"event: message_stop"}[protocol]
    assert fed(reader(protocol), [data[: data.index(last)]]) == fed(reader(protocol), [data])


@EVERY
def test_the_last_line_may_have_no_end(protocol: str) -> None:
    data = written(protocol, SAID)
    assert fed(reader(protocol), [data.rstrip(b"\n")]) == fed(reader(protocol), [data])


# --- errors -------------------------------------------------------------------------------------------------

ERRORS: dict[str, list[bytes]] = {
    "ollama": [
        b'{"error":"the runner has ended"}\n',
        b'{"error":{"message":"the runner has ended"}}\n',
        b'{"error":"the runner has ended","done":3}\n',
    ],
    "openai": [
        b'data: {"error":{"message":"the runner has ended","type":"api_error","code":null}}\n\n',
        b'data: {"error":"the runner has ended"}\n\n',
        b'data: {"object":"error","message":"the runner has ended","code":400}\n\ndata: [DONE]\n\n',
        b'event: error\ndata: {"error":{"message":"the runner has ended"}}\n\n',
        b'error: {"code":500,"error":{"message":"the runner has ended"}}\n\n',
        b'data: {"error":{"message":"the runner has ended"},"choices":"none"}\n\n',
    ],
    "anthropic": [
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"the runner has ended"}}'
        b"\n\n",
        b'data: {"error":{"message":"the runner has ended"}}\n\n',
    ],
}


@EVERY
def test_an_error_inside_the_answer_is_raised_with_its_words(protocol: str) -> None:
    begun = written(protocol, [TextDelta("one")])
    for error in ERRORS[protocol]:
        found = reader(protocol)
        assert said(found.feed(begun)) == "one"
        with pytest.raises(WireError, match=r"^the runner has ended$"):
            found.feed(error)


@SSE
def test_an_error_instead_of_an_answer_is_raised_with_its_words(protocol: str) -> None:
    body = {"error": {"message": "Loading model", "code": 503}}
    for text in (json.dumps(body), json.dumps(body, indent=4), json.dumps(body) + "\n"):
        with pytest.raises(WireError, match=r"^Loading model$"):
            fed(reader(protocol), [text.encode()])


WRONG = (
    *(b"no JSON", b"[]", b"3", b'"x"', b"{", b"\xff", b"[" * 10_000),
    *(b'{"choices":{}}', b'{"choices":[{"delta":[]}]}'),
)


@EVERY
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_in_this_api_is_a_failure(protocol: str, wrong: bytes) -> None:
    data = wrong + b"\n" if protocol == "ollama" else b"data: " + wrong + b"\n\n"
    with pytest.raises(WireError):
        fed(reader(protocol), [data])


@EVERY
@FEW
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_nothing_but_a_wire_error_comes_of_anything(protocol: str, parts: list[bytes]) -> None:
    _fails_well(reader(protocol), parts)


FULL: dict[str, list[dict[str, Any]]] = {
    "ollama": [
        {
            "message": {"content": "a", "thinking": "b", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            "logprobs": [{"token": "a", "logprob": -1.5, "bytes": [97]}],
        },
        {"done": True, "done_reason": "stop", "load_duration": 5, "prompt_eval_count": 1, "eval_count": 2},
    ],
    "openai": [
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "content": "a", "reasoning": "b", "reasoning_content": "c", "refusal": "d",
                        "tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    "logprobs": {"content": [{"token": "a", "logprob": -1.5, "bytes": [97]}]},
                }
            ]
        },
        {"choices": [{"index": 0, "text": "t", "finish_reason": "stop", "stop_reason": 7, "matched_stop": 7}]},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1, "cache_read_input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "x", "stop_sequence": "y"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ],
}  # fmt: skip
ODD: tuple[Any, ...] = (None, True, -1, 2**70, 1.5, "", "x", [], [None], [[]], {}, {"x": 1})


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of all values inside of this one."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, one in inside for place in ((*path, name), *places(one, (*path, name)))]


@EVERY
def test_any_value_in_any_place_is_read_or_refused(protocol: str) -> None:
    for at, place in [(at, place) for at, one in enumerate(FULL[protocol]) for place in places(one)]:
        for odd in ODD:
            objects = json.loads(json.dumps(FULL[protocol]))
            inner = objects[at]
            for name in place[:-1]:
                inner = inner[name]
            inner[place[-1]] = odd
            _fails_well(
                WIRES[protocol].reader(request(think=True, logprobs=True)), _framed(protocol, objects)
            )


@EVERY
def test_the_same_without_an_odd_value_is_an_answer(protocol: str) -> None:
    found = fed(WIRES[protocol].reader(request(think=True, logprobs=True)), _framed(protocol, FULL[protocol]))
    assert "a" in said(found)
    assert [call.name for call in called(found)] == ["f"]
    assert ended(found).prompt_tokens


def _framed(protocol: str, objects: list[dict[str, Any]]) -> list[bytes]:
    texts = [json.dumps(one).encode() for one in objects]
    return [text + b"\n" if protocol == "ollama" else b"data: " + text + b"\n\n" for text in texts]


def _fails_well(found: Reader, parts: Iterable[bytes]) -> None:
    try:
        for part in parts:
            found.feed(part)
        found.end()
    except WireError:
        pass


# --- bounds -------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("begin", [b"{", b"data: ", b"x"])
def test_a_line_without_end_is_a_failure_at_its_bound(protocol: str, begin: bytes) -> None:
    with pytest.raises(WireError, match="4 MiB"):
        fed(reader(protocol), [begin, *[b"x" * 65_536] * (MAX_BYTES // 65_536)])


@pytest.mark.parametrize("line", [b"data: " + b"x" * 65_536 + b"\n", b"{" * 65_536 + b"\n"])
def test_an_event_without_end_is_a_failure_at_its_bound(line: bytes) -> None:
    with pytest.raises(WireError, match="4 MiB"):
        fed(reader("openai"), [line] * (MAX_BYTES // 65_536 + 1))


@SSE
def test_the_bound_is_of_one_event_and_not_of_the_answer(protocol: str) -> None:
    events: list[Event] = [*[TextDelta("x" * 100_000)] * 50, _finish()]
    assert len(said(fed(reader(protocol), [written(protocol, events)]))) == 5_000_000


def test_a_long_line_is_read_in_small_pieces() -> None:
    """Not in the square of its length: four million bytes in pieces of forty."""
    lines = Lines()
    for _ in range(MAX_BYTES // 40):
        assert lines.feed(b"x" * 40) == []
    assert [len(line) for line in lines.feed(b"\nrest\n")] == [MAX_BYTES // 40 * 40, 4]
