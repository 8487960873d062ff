"""An answer whose tokens are wanted with their log probabilities: each token goes with the event that shows its text.

    id -> decoder -> text -> parser, which says where in all text each shown piece stood -> events with their tokens

A token that shows in part, before a stop string or beside a tag, belongs to the first event that shows any of it. One
that shows nothing is in no event: tags, calls, stop strings, control tokens, white space behind a tag, hidden thoughts.
(Tags inside of what a reader took for a call and gives back as text are with it.)
Tokens that are parts of one character go together, with the last of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from inference.decoder import Decoder
from inference.events import Event, ReasoningDelta, TextDelta
from inference.output_parser import OutputParser
from inference.shown_token import Token
from inference.token_bytes import TokenBytes

Place = tuple[int, int]
"""Start and end in the text of the whole answer, in characters."""


class PlacedParser(OutputParser):
    """Also says where each text that it shows stood."""

    places: list[Place]
    """One for each TextDelta and ReasoningDelta that was not looked at yet."""
    _fed = 0
    _left_out = 0
    """Characters of control tags inside of the text that is being released."""

    def push(self, pieces: Iterable[str]) -> list[Event]:
        self.places = []
        events: list[Event] = []
        for piece in pieces:
            self._fed += len(piece)
            events += super().push((piece,))
        return events

    def finish(self) -> list[Event]:
        self.places = []
        return super().finish()

    def _release(self, text: str, rest: str) -> None:
        self._hold(text + rest)
        super()._release(text, rest)
        self._left_out = 0

    def _end(self, text: str) -> None:
        self._hold(text)
        super()._end(text)
        self._left_out = 0

    def _hold(self, text: str) -> None:
        """What a reader gives back is the end of what was held, but for tags of control."""
        self._left_out = 0 if self._held.endswith(text) else len(self._held) - len(text)
        self._held = text

    def _show(self, text: str) -> None:
        self._place(text)
        super()._show(text)

    def _reason(self, text: str) -> None:
        if self._show_thoughts:
            self._place(text)
        super()._reason(text)

    def _place(self, text: str) -> None:
        """Texts are shown from the beginning of what is held."""
        if text:
            start = self._fed - len(self._held)
            self.places.append((start - self._left_out, start + len(text)))


class TokenLog:
    """Reads one answer: ids and their log probabilities in, events out."""

    def __init__(self, decoder: Decoder, parser: PlacedParser, token_bytes: TokenBytes) -> None:
        self._decoder = decoder
        self._parser = parser
        self._bytes = token_bytes
        self._chars = 0
        self._held: list[tuple[bytes, float]] = []
        """Tokens that gave no text yet."""
        self._waiting: deque[tuple[Place, list[tuple[bytes, float]]]] = deque()
        """Tokens whose text no event has shown or passed by yet."""

    def read(self, tokens: Iterable[tuple[int, float]]) -> list[Event]:
        """Ids with their log probabilities. What comes behind the end of the answer counts for nothing."""
        events: list[Event] = []
        for id, logprob in tokens:
            if self._parser.done:
                break
            if id in self._decoder.silent:
                continue
            self._held.append((self._bytes.of(id), logprob))
            for text in self._decoder.push((id,)):
                events += self._shown(text)
        return events

    def rest(self) -> list[Event]:
        """What was held back at the end of the answer."""
        tail = self._decoder.flush()
        events = self._shown(tail) if tail else []
        return events + self._with_tokens(self._parser.finish())

    def _shown(self, text: str) -> list[Event]:
        end = self._chars + len(text)
        if self._held:
            self._waiting.append(((self._chars, end), self._held))
            self._held = []
        self._chars = end
        return self._with_tokens(self._parser.push((text,)))

    def _with_tokens(self, events: list[Event]) -> list[Event]:
        places = iter(self._parser.places)
        return [
            type(event)(event.text, self._taken(*next(places), len(event.text) - 1))
            if isinstance(event, TextDelta | ReasoningDelta)
            else event
            for event in events
        ]

    def _taken(self, start: int, end: int, last: int) -> tuple[Token, ...]:
        """The tokens that begin before `end` and end behind `start`; those before it show nowhere. `last`: place of the
        text's last character, for texts out of which tags of control were taken."""
        tokens: list[Token] = []
        while self._waiting and self._waiting[0][0][0] < end:
            (begin, stop), parts = self._waiting.popleft()
            if stop > start:
                offset = min(max(0, begin - start), last)
                tokens += [Token(part, logprob, offset) for part, logprob in parts]
        return tuple(tokens)
