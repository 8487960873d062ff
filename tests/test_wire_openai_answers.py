"""Streamed answers of OpenAI's API, as servers of many makes write them, into events.

They have the shape, field for field, of what is sent by OpenAI, vLLM, SGLang, llama-server, LM Studio, OpenVINO Model
Server and Mistral.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_calls import called, ended, fed, request, said, thought

from inference.backends.wire import WireError
from inference.backends.wires import WIRES
from inference.events import TextDelta
from inference.types import Sampling, ToolCall, ToolChoice

WIRE = WIRES["openai"]


def stream(*chunks: object, done: bool = True) -> bytes:
    lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join([f"data: {line}\n\n" for line in (*lines, *(["[DONE]"] if done else []))]).encode()


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": fields, "logprobs": None, "finish_reason": reason}
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": None,
    }


def part(index: int | None, **fields: Any) -> dict[str, Any]:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return fields | {"function": function} | ({} if index is None else {"index": index})


def calls_of(*parts: dict[str, Any], reason: str = "tool_calls") -> list[ToolCall]:
    chunks = [delta(tool_calls=[one]) for one in parts]
    return called(fed(WIRE.reader(request()), [stream(*chunks, delta(reason))]))


USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 53, "completion_tokens": 15, "total_tokens": 68,
        "prompt_tokens_details": {"cached_tokens": 32}, "completion_tokens_details": {"reasoning_tokens": 4},
    },
}  # fmt: skip


def test_usage_comes_behind_the_end() -> None:
    events = fed(
        WIRE.reader(request()), [stream(delta(role="assistant", content="Hi"), delta("stop"), USAGE)]
    )
    end = ended(events)
    assert (end.prompt_tokens, end.completion_tokens, end.reasoning_tokens, end.cached_tokens) == (
        53,
        15,
        4,
        32,
    )


def test_usage_may_be_in_the_last_chunk_or_missing() -> None:
    last = delta("stop") | {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    assert ended(fed(WIRE.reader(request()), [stream(delta(content="a"), last)])).completion_tokens == 2
    assert ended(fed(WIRE.reader(request()), [stream(delta("stop"))])).completion_tokens is None


@pytest.mark.parametrize("odd", [True, -1, 2**70, "3", None, [], 1.0])
def test_counts_that_count_nothing_are_unknown(odd: object) -> None:
    events = fed(
        WIRE.reader(request()), [stream(delta("stop"), {"choices": [], "usage": {"prompt_tokens": odd}})]
    )
    assert ended(events).prompt_tokens == (1 if odd == 1.0 and odd is not True else None)


def test_choices_but_the_first_were_not_asked_for() -> None:
    other = delta(content="x")
    other["choices"][0]["index"] = 1
    assert said(fed(WIRE.reader(request()), [stream(delta(content="a"), other, delta("stop"))])) == "a"


@pytest.mark.parametrize("reason", ["error", "abort"])
def test_an_end_that_is_a_failure_is_one(reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        fed(WIRE.reader(request()), [stream(delta(content="a"), delta(reason))])


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_have_two_names(name: str) -> None:
    chunks = (delta(role="assistant", content=None), delta(**{name: "hm"}), delta(content="4"), delta("stop"))
    events = fed(WIRE.reader(request(think=True)), [stream(*chunks)])
    assert (thought(events), said(events)) == ("hm", "4")
    assert thought(fed(WIRE.reader(request(think=False)), [stream(*chunks)])) == ""


@pytest.mark.parametrize(
    "parts",
    [
        [  # OpenAI
            part(0, id="a", name="f", arguments=""), part(0, arguments='{"x"'), part(0, arguments=":1}"),
            part(1, id="b", name="g", arguments="{}"),
        ],
        [  # vLLM and LMDeploy of old: all are number 0, later pieces have an empty id
            part(0, id="a", name="f", arguments=""), part(0, id="", arguments='{"x":1}'),
            part(0, id="b", name="g", arguments=""), part(0, id="", arguments="{}"),
        ],
        [  # SGLang: the id with each piece
            part(0, id="a", name="f", arguments=""), part(0, id="a", arguments='{"x":1}'),
            part(1, id="b", name="g"), part(1, id="b", arguments="{}"),
        ],
        [part(None, id="a", name="f", arguments='{"x":1}'), part(None, id="b", name="g", arguments="")],  # whole ones
        [part(0, id="a", name="f", arguments={"x": 1}), part(1, id="b", name="g", arguments=None)],  # not as text
        [part(1, id="a", name="f", arguments='{"x":1}'), part(2, id="b", name="g", arguments="null")],
    ],
)  # fmt: skip
def test_calls_are_gathered_however_they_are_numbered(parts: list[dict[str, Any]]) -> None:
    assert calls_of(*parts) == [ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {})]
    assert calls_of(*parts, reason="stop") == [ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {})]


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    first, second = calls_of(part(0, name="f", arguments="{}"), part(1, name="f", arguments="{}"))
    assert first.id
    assert second.id not in ("", first.id)


def test_where_one_call_was_wished_for_the_first_is_taken() -> None:
    chunks = [delta(tool_calls=[part(at, id=f"c{at}", name="f", arguments="{}")]) for at in range(3)]
    reader = WIRE.reader(request(tool_choice=ToolChoice(parallel=False)))
    assert [call.id for call in called(fed(reader, [stream(*chunks, delta("tool_calls"))]))] == ["c0"]


@pytest.mark.parametrize("arguments", ['{"x":', "[1]", '"a"', "{x: 1}"])
def test_a_call_that_cannot_be_made_is_a_failure(arguments: str) -> None:
    with pytest.raises(WireError, match="'f'"):
        calls_of(part(0, id="a", name="f", arguments=arguments))


def test_a_call_that_the_limit_cut_is_left_out_and_the_reason_says_so() -> None:
    chunks = (
        delta(content="Hm"),
        delta(tool_calls=[part(0, id="a", name="f", arguments='{"x":')]),
        delta("length"),
    )
    events = fed(WIRE.reader(request()), [stream(*chunks)])
    assert (said(events), called(events), ended(events).reason) == ("Hm", [], "length")


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "stop"),
        ("content_filter", "stop"),
        ("eos", "stop"),
    ],
)
def test_reasons_become_ours(reason: str, ours: str) -> None:
    assert ended(fed(WIRE.reader(request()), [stream(delta(reason))])).reason == ours


def test_a_refusal_is_text() -> None:
    assert said(fed(WIRE.reader(request()), [stream(delta(refusal="I can't"), delta("stop"))])) == "I can't"


def test_text_in_parts_is_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "reference", "ids": [1]}]
    assert said(fed(WIRE.reader(request()), [stream(delta(content=parts), delta("stop"))])) == "ab"


def test_a_completion_has_its_text_in_the_choice() -> None:
    chunks = [
        {
            "object": "text_completion",
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}],
        }
        for text, reason in (("one", None), (" two", "length"))
    ]
    events = fed(WIRE.reader(request(raw=True)), [stream(*chunks)])
    assert (said(events), ended(events).reason) == ("one two", "length")


def test_a_stop_string_that_is_streamed_is_not_shown() -> None:
    """OpenVINO Model Server's way."""
    reader = WIRE.reader(request(sampling=Sampling(stop=("###", "END"))))
    chunks = [delta(content=text) for text in ("one #", " two #", "#", "# three")]
    events = fed(reader, [stream(*chunks, delta("stop"))])
    assert said(events) == "one # two "
    assert ended(events).stop_sequence == "###"


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_what_might_have_become_a_stop_string_is_shown_at_the_end(reason: str) -> None:
    reader = WIRE.reader(request(sampling=Sampling(stop=("###",))))
    events = fed(reader, [stream(delta(content="one ##"), delta(reason))])
    assert (said(events), ended(events).stop_sequence) == ("one ##", "")


@pytest.mark.parametrize("name", ["stop_reason", "matched_stop"])
def test_the_stop_string_is_told_by_those_who_tell_it(name: str) -> None:
    for told, ours in (("END", "END"), (151645, ""), (None, "")):
        last = delta("stop")
        last["choices"][0][name] = told
        assert ended(fed(WIRE.reader(request()), [stream(delta(content="a E"), last)])).stop_sequence == ours


def test_log_probabilities_wait_for_their_text() -> None:
    def logged(content: str | None, *tokens: tuple[str, list[int] | None]) -> dict[str, Any]:
        chunk = delta(content=content)
        entries = [
            {"token": token, "logprob": -0.5, "bytes": spelled, "top_logprobs": []}
            for token, spelled in tokens
        ]
        chunk["choices"][0]["logprobs"] = {"content": entries}
        return chunk

    chunks = (
        logged(None, ("\ufffd", [0xC3])),
        logged("é is", ("\ufffd", [0xA9]), (" is", [32, 105, 115])),
        logged("!", ("!", None), ("<end of text>", None), (" ", None)),
        delta("stop"),
    )
    text, more, _ = fed(WIRE.reader(request(logprobs=True)), [stream(*chunks)])
    assert isinstance(text, TextDelta)
    assert isinstance(more, TextDelta)
    assert [(token.spelled, token.offset) for token in text.tokens] == [
        (b"\xc3", 0),
        (b"\xa9", 0),
        (b" is", 1),
    ]
    assert [(token.spelled, token.logprob) for token in more.tokens] == [
        (b"!", -0.5),
        (b"<end of text>", -0.5),
        (b" ", -0.5),
    ]
    assert [token.offset for token in more.tokens] == [0, 1, 1]


def test_a_whole_answer_instead_of_a_stream_is_read_too() -> None:
    message = {"role": "assistant", "content": "4", "tool_calls": [part(0, id="a", name="f", arguments="{}")]}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE["usage"]}
    events = fed(WIRE.reader(request()), [json.dumps(answer, indent=2).encode()])
    assert (said(events), called(events)) == ("4", [ToolCall("a", "f", {})])
    assert ended(events).prompt_tokens == 53
