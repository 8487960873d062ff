"""Grammars that mean harm, sent while others stream: the streams go on, by the same worker, and so does all after."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import RunningServer
from streams import long_stream
from test_supervision import answer, chat, post
from workers import worker_of

TOKENS = 300


def chain(kind: str, length: int) -> dict[str, Any]:
    """References of references, two at each place."""
    parts: dict[str, Any] = {"a0": {"type": "string"}}
    for index in range(1, length):
        before = {"$ref": f"#/$defs/a{index - 1}"}
        held = {"properties": {"l": before, "r": before}} if kind == "object" else {"anyOf": [before, before]}
        parts[f"a{index}"] = {"title": "x", **held}
    return {"$defs": parts, "$ref": f"#/$defs/a{length - 1}"}


HOSTILE: dict[str, Any] = {
    "takes seconds to compile": {"type": "string", "pattern": "^(" + "[\\u0000-\\uffff]" * 450 + ")*$"},
    "repetitions of repetitions": {"type": "string", "pattern": "([a-z]{1,900}){1,900}"},
    "many states": {"type": "string", "pattern": "(a|b)*a" + "(a|b)" * 400},
    "long strings": {"type": "string", "minLength": 900, "maxLength": 1000},
    "wide": {"enum": [f"value {index} " * 20 for index in range(250)]},
    "doubling objects": chain("object", 150),
    "doubling alternatives": chain("alternatives", 150),
    "optional properties": {
        "type": "object",
        "properties": {f"p{index}": {"type": ["string", "number", "null"]} for index in range(400)},
    },
    "no expression": {"type": "string", "pattern": "(((("},
    "nowhere": {"$ref": "#/definitions/nowhere"},
    "nothing matches": {"allOf": [{"type": "string"}, {"type": "integer"}]},
}


def stream_until(over: threading.Event, server: RunningServer) -> list[list[dict[str, Any]]]:
    """One stream after the other; the lines of each."""
    streams = []
    while not over.is_set():
        with long_stream(server, tokens=TOKENS) as response:
            streams.append([json.loads(line) for line in response])
    return streams


def send(server: RunningServer, name: str) -> tuple[int, Any]:
    few = {"num_predict": 3, "temperature": 0}
    status, body, _ = post(server, "/api/chat", chat(format=HOSTILE[name], options=few))
    return status, body


@pytest.fixture(scope="module")
def hostile_answers(server: RunningServer) -> dict[str, tuple[int, Any]]:
    """Status and body of each, sent two at a time beside two long streams."""
    answer(server)
    with long_stream(server, tokens=TOKENS):
        pass  # its own schema is known from here on, and waits for no other
    before = worker_of(server).pid
    with ThreadPoolExecutor(4) as pool:
        over = threading.Event()
        reading = [pool.submit(stream_until, over, server) for _ in range(2)]
        try:
            found = dict(zip(HOSTILE, pool.map(lambda name: send(server, name), HOSTILE), strict=True))
        finally:
            over.set()
        streams = [stream for one in reading for stream in one.result()]
    for lines in streams:
        assert [line.get("done") for line in lines] == [False] * (len(lines) - 1) + [True]
        assert lines[-1]["eval_count"] == TOKENS
    assert worker_of(server).pid == before
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_grammar_is_an_answer_or_a_refusal_beside_streams(
    hostile_answers: dict[str, tuple[int, Any]], name: str
) -> None:
    status, body = hostile_answers[name]
    assert status in (200, 400, 503), body  # 503: others wait for the checker, and this one takes long
    assert status == 200 or isinstance(body["error"], str)


def test_the_next_grammar_and_the_next_request_are_answered(
    server: RunningServer, hostile_answers: dict[str, tuple[int, Any]]
) -> None:
    assert answer(server)
    status, body, _ = post(server, "/api/chat", chat(format={"type": "boolean"}, options={"temperature": 0}))
    assert status == 200, body
    assert body["message"]["content"].strip() in ("true", "false")
