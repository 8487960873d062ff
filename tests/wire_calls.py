"""Calls as a wire makes them, sent to a real server, and answers fed to its reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx

from inference.backends.wire import Delta, Ended, Reader, Wire
from inference.events import ReasoningDelta, TextDelta
from inference.types import ChatRequest, Message, Sampling, Tool, ToolCall

Events = list[Delta | Ended]
WEATHER = Tool(
    name="get_weather",
    description="The weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def request(question: str = "How do I pull a model?", **fields: Any) -> ChatRequest:
    """Greedy and without thoughts, unless the fields say otherwise."""
    told: dict[str, Any] = {"messages": (Message(role="user", content=question),), "think": False}
    sampling = fields.pop("sampling", Sampling(temperature=0.0))
    return ChatRequest(model="demo", sampling=sampling, **told | fields)


def answer(url: str, wire: Wire, asked: ChatRequest, model: str = "demo") -> Events:
    """All events of the answer, its bytes as the network cut them."""
    assert wire.refuses(asked) == ""
    call = wire.chat(asked, model)
    with httpx.stream(
        "POST", url + call.path, content=call.body, headers=wire.headers("any"), timeout=60
    ) as reply:
        assert reply.status_code == 200, reply.read()
        return fed(wire.reader(asked), reply.iter_raw())


def fed(reader: Reader, parts: Iterable[bytes]) -> Events:
    events: Events = []
    for part in parts:
        events += reader.feed(part)
    events += reader.end()
    assert isinstance(events[-1], Ended)
    assert not any(isinstance(event, Ended) for event in events[:-1])
    return events


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def said(events: Events) -> str:
    return "".join([event.text for event in events if isinstance(event, TextDelta)])


def thought(events: Events) -> str:
    return "".join([event.text for event in events if isinstance(event, ReasoningDelta)])


def called(events: Events) -> list[ToolCall]:
    return [event for event in events if isinstance(event, ToolCall)]


def ended(events: Events) -> Ended:
    last = events[-1]
    assert isinstance(last, Ended)
    return last


def joined(events: Events) -> list[object]:
    """As `events`, with neighbours of one kind made one: how the server's own pieces were cut does not count."""
    found: list[Any] = []
    for event in events:
        if found and isinstance(event, TextDelta | ReasoningDelta) and type(found[-1]) is type(event):
            found[-1] = type(event)(found[-1].text + event.text, found[-1].tokens + event.tokens)
        else:
            found.append(event)
    return found
