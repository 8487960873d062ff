"""Conversations for chat templates that refuse them.

Many templates raise on a second system message, on one that does not come first, or on two turns of the same role; some
know no system message at all. Agents send all of these: Codex two system messages and two of the user in a row, Claude
Code reminders of the system in the middle. Nothing is left out here: turns are joined, what the system says in the
middle becomes the user's or goes to the front, and in the end the system speaks as the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from msgspec import structs

from inference.types import Message

Turns = tuple[Message, ...]


def simpler(messages: Turns) -> Iterator[Turns]:
    """Other shapes of the same conversation, the closest first; none that is the conversation itself."""
    leading = list(takewhile(lambda message: message.role == "system", messages))
    gathered = sorted(messages, key=lambda message: message.role != "system")
    shapes = [
        _joined([*leading, *map(_as_user, messages[len(leading) :])]),
        _joined(gathered),
        _joined([_as_user(message) for message in gathered]),
    ]
    for index, shape in enumerate(shapes):
        if shape not in (messages, *shapes[:index]):
            yield shape


def _as_user(message: Message) -> Message:
    return structs.replace(message, role="user") if message.role == "system" else message


def _joined(messages: Sequence[Message]) -> Turns:
    """Neighbours of one role become one, but for results of tools, and calls stay the end of their turn."""
    turns: list[Message] = []
    for message in messages:
        last = turns[-1] if turns else None
        if (
            last
            and last.role == message.role
            and not last.tool_calls
            and _is_plain(last)
            and _is_plain(message)
        ):
            turns[-1] = structs.replace(
                last,
                content=_text(last.content, message.content),
                thinking=_text(last.thinking, message.thinking),
                tool_calls=message.tool_calls,
            )
        else:
            turns.append(message)
    return tuple(turns)


def _is_plain(message: Message) -> bool:
    """Has nothing that joining would lose."""
    bare = structs.replace(message, content="", thinking="", tool_calls=())
    return message.role != "tool" and bare == Message(role=message.role)


def _text(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
