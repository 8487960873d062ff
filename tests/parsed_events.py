"""Events of a parser as tests compare them."""

from __future__ import annotations

from inference.events import Event, ReasoningDelta, TextDelta
from inference.types import ToolCall

Seen = list[tuple[object, ...]]


def seen(events: list[Event]) -> Seen:
    """Neighbours of one kind joined."""
    found: Seen = []
    for event in events:
        if isinstance(event, ToolCall):
            found.append(("call", event.name, event.arguments))
            continue
        assert isinstance(event, (TextDelta, ReasoningDelta))
        assert event.text, "an empty delta"
        kind = "text" if isinstance(event, TextDelta) else "thought"
        if found and found[-1][0] == kind:
            found[-1] = (kind, f"{found[-1][1]}{event.text}")
        else:
            found.append((kind, event.text))
    return found
