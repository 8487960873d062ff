"""Which texts are embedded next: those that came in while one inference ran, whoever sent them, form the next. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class TextBatches:
    """The texts of all requests that wait. An inference pads its texts to the longest, so like goes with like."""

    def __init__(self, most_texts: int, most_tokens: int) -> None:
        """`most_tokens`: of one inference, padding included; a text that has more goes alone."""
        self._most_texts = most_texts
        self._most_tokens = most_tokens
        self._waiting: dict[int, deque[tuple[int, int]]] = {}
        """By request id, the one whose turn it is first: (tokens, index), short texts first."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, id: int, tokens: Sequence[int]) -> None:
        """`tokens` of each text of the request, one at least."""
        self._waiting[id] = deque(sorted((count, index) for index, count in enumerate(tokens)))

    def drop(self, id: int) -> None:
        self._waiting.pop(id, None)

    def take(self) -> list[tuple[int, int]]:
        """(request id, index) of the next texts. Requests take turns, so a large one does not hold up the small."""
        batch: list[tuple[int, int]] = []
        longest = 0
        for id in tuple(self._waiting):
            texts, already = self._waiting.pop(id), len(batch)
            while texts and self._fits(len(batch) + 1, max(longest, texts[0][0])):
                count, index = texts.popleft()
                longest = max(longest, count)
                batch.append((id, index))
            if texts and len(batch) == already:  # its turn is still to come
                self._waiting = {id: texts} | self._waiting
                break
            if texts:
                self._waiting[id] = texts
                break
        return batch

    def _fits(self, texts: int, longest: int) -> bool:
        return texts == 1 or (texts <= self._most_texts and texts * longest <= self._most_tokens)
