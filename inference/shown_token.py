"""One token as clients that ask for log probabilities see it."""

from __future__ import annotations

from msgspec import Struct


class Token(Struct, frozen=True):
    """A token of an answer whose log probabilities were asked for."""

    spelled: bytes
    """Its own bytes; they may be a part of a character."""
    logprob: float
    """Natural logarithm of what the model itself gave it, before temperature, penalties and every filter."""
    offset: int
    """Where it begins in the text of its event, in characters; 0 where it began before it."""

    @property
    def text(self) -> str:
        return self.spelled.decode("utf-8", "replace")
