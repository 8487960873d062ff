"""A grammar is compiled beside the steps of the others in the batch, and the request comes to them afterwards."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

import inference
from inference.grammar import structured_config
from inference.thinking import THINK
from inference.types import Constraint
from inference.worker.batching import BatchingRunner
from inference.worker.channel import Channel
from inference.worker.messages import (
    Add,
    Cancel,
    FrameSplitter,
    Load,
    RequestFailed,
    Step,
    decode_from_worker,
    pack_ids,
    unpack_ids,
)

DEMO = Path(inference.__file__).parent / "builtin" / "demo"
PROMPT = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
NEIGHBOUR = 1
FEW = 10
"""A neighbour that waits for a compilation gets two or three tokens in its time."""


class Worker:
    """A runner, stepped here, with the frames that it sends."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._ours, self._theirs, self._splitter = ours, theirs, FrameSplitter()
        ours.setblocking(False)
        load = Load(role="batching", path=str(DEMO), device="CPU", exact=True, kv_blocks=400)
        self.runner = BatchingRunner(load, Channel(theirs))
        self.tokens: dict[int, int] = {}
        self.texts: dict[int, list[int]] = {}
        self.ended: dict[int, str] = {}

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()

    def step(self) -> None:
        self.runner.step()
        for body in self._splitter.feed(self._ours.recv(1 << 20)):
            message = decode_from_worker(body)
            assert not isinstance(message, RequestFailed), message
            assert isinstance(message, Step)
            for entry in message.progress:
                ids = unpack_ids(entry.ids)
                self.texts.setdefault(entry.id, []).extend(ids)
                self.tokens[entry.id] = self.tokens.get(entry.id, 0) + len(ids)
                if entry.finish:
                    self.ended[entry.id] = entry.finish

    def until(self, holds: Any) -> None:
        for _ in range(20_000):
            if holds():
                return
            self.step()
        raise AssertionError("it did not come about")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with closing(Worker()) as made:
        made.runner.handle(add(NEIGHBOUR, temperature=1000.0, max_new_tokens=12_000))
        made.until(lambda: made.tokens.get(NEIGHBOUR))
        yield made


def add(id: int, grammar: dict[str, Any] | None = None, **changes: Any) -> Add:
    ids = PROMPT.encode(
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False
    ).ids
    fields: dict[str, Any] = {
        "max_new_tokens": 200, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "seed": 1,
        "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "eos_ids": (2,),
    }  # fmt: skip
    return Add(id=id, ids=pack_ids(ids), grammar=grammar, **(fields | changes))


def heavy() -> dict[str, Any]:
    """Half a second of compiling, and new each time."""
    names = [f"field_{secrets.token_hex(4)}" for _ in range(20)]
    schema = {"type": "object", "properties": {name: {"type": "string", "maxLength": 30} for name in names}}
    return structured_config(
        Constraint(json.dumps(schema)), after_thinking=False, thinking_open=False, tags=THINK, vocab_size=2560
    )


def test_the_neighbour_goes_on_while_a_grammar_is_compiled_which_then_holds(worker: Worker) -> None:
    before = worker.tokens[NEIGHBOUR]
    worker.runner.handle(add(2, heavy()))
    worker.until(lambda: worker.tokens.get(2))
    assert worker.tokens[NEIGHBOUR] - before > FEW
    worker.until(lambda: worker.ended.get(2))
    assert worker.ended[2] == "stop"
    assert isinstance(json.loads(PROMPT.decode(worker.texts[2])), dict)


def test_a_grammar_that_is_known_is_not_waited_for(worker: Worker) -> None:
    grammar = heavy()
    worker.runner.handle(add(3, grammar))
    worker.until(lambda: worker.ended.get(3))
    before = worker.tokens[NEIGHBOUR]
    worker.runner.handle(add(4, grammar))
    worker.until(lambda: worker.tokens.get(4))
    assert worker.tokens[NEIGHBOUR] - before <= FEW


def test_a_request_that_leaves_while_its_grammar_is_compiled_is_never_started(worker: Worker) -> None:
    worker.runner.handle(add(5, heavy()))
    worker.step()
    worker.runner.handle(Cancel(5))
    worker.until(lambda: worker.ended.get(5))
    assert (worker.ended[5], worker.tokens[5]) == ("cancelled", 0)
    worker.runner.handle(add(6, heavy()))
    worker.until(lambda: worker.ended.get(6))
    assert worker.tokens[5] == 0


def test_a_worker_with_nothing_else_to_do_waits_for_the_grammar() -> None:
    with closing(Worker()) as alone:
        alone.runner.handle(add(1, heavy()))
        assert alone.runner.busy()
        alone.until(lambda: alone.ended.get(1))
        assert not alone.runner.busy()
