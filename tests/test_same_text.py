"""The same request gives the same text: in every dialect, streamed or not, cold or warm, alone or beside others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from conftest import RunningServer
from wire_clients import claude, native, v1

QUESTION = "How do I pull a model? Tell me also what the server does when a model is too large."
TURNS: list[Any] = [{"role": "user", "content": QUESTION}]
TOKENS = 60
GREEDY = {"temperature": 0.0, "top_p": 1.0}
SEEDED = {"temperature": 1.4, "top_p": 0.95, "seed": 11}
Ask = Callable[[str, dict[str, Any], bool], str]


def chat(url: str, sampling: dict[str, Any], stream: bool) -> str:
    asked: dict[str, Any] = {"messages": TURNS, "think": False, "options": sampling | {"num_predict": TOKENS}}
    if not stream:
        return str(native(url).chat("demo", **asked).message.content)
    return "".join(part.message.content or "" for part in native(url).chat("demo", stream=True, **asked))


def generate(url: str, sampling: dict[str, Any], stream: bool) -> str:
    asked: dict[str, Any] = {
        "prompt": QUESTION,
        "think": False,
        "options": sampling | {"num_predict": TOKENS},
    }
    if not stream:
        return str(native(url).generate("demo", **asked).response)
    return "".join(part.response or "" for part in native(url).generate("demo", stream=True, **asked))


def chat_completions(url: str, sampling: dict[str, Any], stream: bool) -> str:
    asked: dict[str, Any] = {"messages": TURNS, "reasoning_effort": "none", "max_tokens": TOKENS, **sampling}
    create = v1(url).chat.completions.create
    if not stream:
        return str(create(model="demo", **asked).choices[0].message.content)
    return "".join(part.choices[0].delta.content or "" for part in create(model="demo", stream=True, **asked))


def completions(url: str, sampling: dict[str, Any], stream: bool) -> str:
    asked: dict[str, Any] = {"prompt": QUESTION, "max_tokens": TOKENS, **sampling}
    create = v1(url).completions.create
    if not stream:
        return str(create(model="demo", **asked).choices[0].text)
    return "".join(part.choices[0].text for part in create(model="demo", stream=True, **asked))


def responses(url: str, sampling: dict[str, Any], stream: bool) -> str:
    asked: dict[str, Any] = {
        "input": QUESTION,
        "reasoning": {"effort": "none"},
        "max_output_tokens": TOKENS,
        "extra_body": sampling,
    }
    create = v1(url).responses.create
    if not stream:
        return str(create(model="demo", **asked).output_text)
    events = create(model="demo", stream=True, **asked)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def messages(url: str, sampling: dict[str, Any], stream: bool) -> str:
    asked: dict[str, Any] = {
        "model": "demo",
        "messages": TURNS,
        "max_tokens": TOKENS,
        "thinking": {"type": "disabled"},
        "extra_body": sampling,
    }
    if not stream:
        return "".join(block.text for block in claude(url).messages.create(**asked).content)
    with claude(url).messages.stream(**asked) as events:
        return "".join(events.text_stream)


ALL: tuple[Ask, ...] = (chat, generate, chat_completions, completions, responses, messages)


def texts(url: str, sampling: dict[str, Any]) -> dict[str, str]:
    return {
        f"{ask.__name__}, {'streamed' if stream else 'whole'}": ask(url, sampling, stream)
        for ask in ALL
        for stream in (False, True)
    }


@contextmanager
def neighbours(url: str, count: int) -> Iterator[None]:
    """So many streams of other texts, running until the end of the block."""
    running, end = [Event() for _ in range(count)], Event()

    def babble(index: int) -> None:
        options = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": index, "num_predict": 3000}
        for _ in native(url).generate("demo", prompt=f"{index}", think=False, stream=True, options=options):
            running[index].set()
            if end.is_set():
                return

    with ThreadPoolExecutor(count) as pool:
        for index in range(count):
            pool.submit(babble, index)
        try:
            assert all(one.wait(30) for one in running)
            yield
        finally:
            end.set()


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_every_dialect_gives_the_same_text(server: RunningServer, sampling: dict[str, Any]) -> None:
    found = texts(server.url, sampling)
    assert len(set(found.values())) == 1, found
    assert len(next(iter(found.values()))) > 40


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_cold_warm_and_beside_neighbours_it_is_the_same_text(
    server: RunningServer, sampling: dict[str, Any]
) -> None:
    native(server.url).generate("demo", keep_alive=0)
    cold, warm = chat(server.url, sampling, True), chat(server.url, sampling, True)
    with neighbours(server.url, 6):
        beside = [chat(server.url, sampling, True) for _ in range(3)]
    assert {warm, *beside} == {cold}
