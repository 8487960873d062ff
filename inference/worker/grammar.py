"""The role of a checker: compiles one grammar at a time on the serving model's vocabulary, and may be killed for it."""

from __future__ import annotations

from collections import deque

from inference.worker.channel import Channel
from inference.worker.grammar_check import GrammarChecker
from inference.worker.messages import Check, Checked, Load, ToWorker


class GrammarRunner:
    def __init__(self, load: Load, channel: Channel) -> None:
        self._checker = GrammarChecker(load.path, load.vocab_size)
        self._channel = channel
        self._waiting: deque[Check] = deque()

    def busy(self) -> bool:
        return bool(self._waiting)

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, Check):
            self._waiting.append(message)

    def step(self) -> None:
        check = self._waiting.popleft()
        self._channel.send(Checked(check.id, self._checker.check(check.grammar) or ""))
