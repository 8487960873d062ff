"""Grammars are tried in a child that may be killed, before they reach a pipeline that others share.

A bad or explosive grammar passes `add_request` and throws, or spins, inside `step()`: every request of that pipeline
would be lost (openvino-facts 6, 17). So: bounds first, then compiled with the model's own vocabulary in a checker
process within `DEADLINE_S`, and the verdict is remembered.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from typing import Any

from inference.errors import BadRequest, InferenceError, InvalidGrammar, WorkerDied
from inference.grammar import check_bounds, structured_config
from inference.process import WorkerProcess
from inference.spare import SpareWorker
from inference.types import Constraint, ModelSpec
from inference.worker import messages as wire

logger = logging.getLogger(__name__)

DEADLINE_S = 2.0
VERDICTS = 1_000
IDLE_S = 60.0


class ConstraintChecks:
    """One checker process at a time, of the model that was asked for last. Event loop only."""

    def __init__(self, spare: SpareWorker) -> None:
        self._spare = spare
        self._verdicts: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._one = asyncio.Lock()
        self._checker: WorkerProcess | None = None
        self._digest = ""
        self._idle: asyncio.TimerHandle | None = None

    async def compiled(
        self,
        constraint: Constraint,
        spec: ModelSpec,
        vocab_size: int,
        *,
        after_thinking: bool,
        thinking_open: bool,
    ) -> dict[str, Any]:
        """What the worker needs for this constraint. Raises InvalidGrammar."""
        check_bounds(constraint)
        config = structured_config(
            constraint, after_thinking=after_thinking, thinking_open=thinking_open, vocab_size=vocab_size
        )
        if config.get("relaxed"):
            logger.info(
                "a schema is enforced but for %s, which this vocabulary makes too slow", config["relaxed"]
            )
        key = (spec.digest, hashlib.sha256(repr(config).encode()).hexdigest())
        verdict = self._verdicts.get(key)
        if verdict is None:
            async with self._one:
                verdict = self._verdicts.get(key)
                if verdict is None:
                    verdict = self._verdicts[key] = await self._check(config, spec, vocab_size)
            while len(self._verdicts) > VERDICTS:
                self._verdicts.popitem(last=False)
        if verdict:
            raise InvalidGrammar(f"invalid format: {verdict}", "format")
        return config

    async def _check(self, config: dict[str, Any], spec: ModelSpec, vocab_size: int) -> str:
        checker = await self._checker_of(spec, vocab_size)
        try:
            return await asyncio.wait_for(checker.check(config), DEADLINE_S)
        except TimeoutError:
            checker.kill("took too long over a grammar")
            return f"the schema does not compile within {DEADLINE_S:g} s; make it smaller"
        except WorkerDied:
            return "the schema ends the grammar compiler; make it smaller"
        except BadRequest as error:
            return str(error)
        finally:
            self._end_when_idle()

    async def _checker_of(self, spec: ModelSpec, vocab_size: int) -> WorkerProcess:
        if self._checker is not None and self._checker.alive() and self._digest == spec.digest:
            return self._checker
        await self.stop()
        checker = await self._spare.take()
        try:
            await checker.load(
                wire.Load(role="grammar", path=str(spec.path), device="CPU", vocab_size=vocab_size)
            )
        except InferenceError:
            await checker.close()
            raise
        self._checker, self._digest = checker, spec.digest
        return checker

    def _end_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(IDLE_S, lambda: loop.create_task(self.stop()))

    async def stop(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        checker, self._checker = self._checker, None
        if checker is not None:
            await checker.close()
