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

from msgspec import structs

from inference.backend import ChatJob
from inference.call_grammar import calls_config
from inference.errors import BadRequest, InferenceError, InvalidGrammar, Unavailable, WorkerDied
from inference.grammar import check_bounds, structured_config
from inference.process import WorkerProcess
from inference.spare import SpareWorker
from inference.texts import Text
from inference.thinking import ThinkTags
from inference.tools.family import CallForm
from inference.types import Constraint, ModelSpec, Tool, ToolChoice
from inference.worker import messages as wire

logger = logging.getLogger(__name__)

DEADLINE_S = 2.0
HURRIED_S = 0.5
"""The deadline while others wait for the checker; who misses it is asked to come back."""
LINE = 8
"""Schemas that may wait for the checker; beyond that 503."""
VERDICTS = 1_000
BRIEF_CHARS = 1_000
"""A longer schema is made a grammar in a thread."""
IDLE_S = 60.0


class ConstraintChecks:
    """One checker process at a time, of the model that was asked for last. Event loop only."""

    def __init__(self, spare: SpareWorker) -> None:
        self._spare = spare
        self._verdicts: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._one = asyncio.Lock()
        self._waiting = 0
        self._checker: WorkerProcess | None = None
        self._starting: asyncio.Task[WorkerProcess] | None = None
        self._digest = ""
        self._idle: asyncio.TimerHandle | None = None

    async def applied(self, job: ChatJob, text: Text) -> ChatJob:
        """With the grammar that the request asks for, if it does. Raises what `compiled` raises."""
        request, vocab_size = job.request, text.codec.vocab_size
        thinks, tags = job.think, job.family.think or job.think_tags
        if request.tool_choice.required:
            form = job.family.form(text.template.source)
            grammar = await self.compiled_calls(
                request.tools, request.tool_choice, form, job.spec, vocab_size,
                after_thinking=thinks, thinking_open=job.starts_in_thinking, tags=tags,
            )  # fmt: skip
        elif request.constraint is not None:
            thinks = thinks and not job.family.answer_only  # such a prompt has left no room for thoughts
            grammar = await self.compiled(
                request.constraint, job.spec, vocab_size,
                after_thinking=thinks, thinking_open=job.starts_in_thinking, tags=tags,
            )  # fmt: skip
        else:
            return job
        return structs.replace(job, grammar=grammar)

    async def compiled(
        self,
        constraint: Constraint,
        spec: ModelSpec,
        vocab_size: int,
        *,
        after_thinking: bool,
        thinking_open: bool,
        tags: ThinkTags,
    ) -> dict[str, Any]:
        """What the worker needs for this constraint. Raises InvalidGrammar."""

        def config_of() -> dict[str, Any]:
            check_bounds(constraint)
            return structured_config(
                constraint,
                after_thinking=after_thinking,
                thinking_open=thinking_open,
                tags=tags,
                vocab_size=vocab_size,
            )

        brief = len(constraint.schema) <= BRIEF_CHARS
        config = config_of() if brief else await asyncio.to_thread(config_of)
        return await self.checked(config, spec, vocab_size, "format")

    async def compiled_calls(
        self,
        tools: tuple[Tool, ...],
        choice: ToolChoice,
        form: CallForm,
        spec: ModelSpec,
        vocab_size: int,
        *,
        after_thinking: bool,
        thinking_open: bool,
        tags: ThinkTags,
    ) -> dict[str, Any]:
        """The same for an answer that must call. Raises InvalidGrammar."""
        config = await asyncio.to_thread(
            calls_config, tools, choice, form,
            after_thinking=after_thinking, thinking_open=thinking_open, tags=tags, vocab_size=vocab_size,
        )  # fmt: skip
        return await self.checked(config, spec, vocab_size, "tools")

    async def checked(
        self, config: dict[str, Any], spec: ModelSpec, vocab_size: int, field: str
    ) -> dict[str, Any]:
        """The config itself, once the checker has compiled it. Raises InvalidGrammar that names the field."""
        if config.get("relaxed"):
            logger.info(
                "a schema is enforced but for %s, which this vocabulary makes too slow", config["relaxed"]
            )
        key = (spec.digest, hashlib.sha256(repr(config).encode()).hexdigest())
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = await self._in_line(key, config, spec, vocab_size)
            while len(self._verdicts) > VERDICTS:
                self._verdicts.popitem(last=False)
        if verdict:
            raise InvalidGrammar(f"invalid {field}: {verdict}", field)
        return config

    async def _in_line(
        self, key: tuple[str, str], config: dict[str, Any], spec: ModelSpec, vocab_size: int
    ) -> str:
        """One after the other, in a line that is bounded and moves faster the longer it is."""
        if self._waiting >= LINE:
            raise Unavailable("too many schemas wait to be checked, please try again", HURRIED_S * LINE)
        self._waiting += 1
        try:
            async with self._one:
                verdict = self._verdicts.get(key)
                if verdict is None:
                    verdict = self._verdicts[key] = await self._check(config, spec, vocab_size)
                return verdict
        finally:
            self._waiting -= 1

    async def _check(self, config: dict[str, Any], spec: ModelSpec, vocab_size: int) -> str:
        if self._idle is not None:
            self._idle.cancel()
        checker = await self._checker_of(spec, vocab_size)
        deadline_s = HURRIED_S if self._waiting > 1 else DEADLINE_S
        try:
            return await asyncio.wait_for(checker.check(config), deadline_s)
        except TimeoutError:
            checker.kill("took too long over a grammar")
            if deadline_s < DEADLINE_S:
                raise Unavailable(
                    "the schema takes long to check and others wait, please try again", DEADLINE_S
                ) from None
            return f"the schema does not compile within {DEADLINE_S:g} s; make it smaller"
        except asyncio.CancelledError:
            checker.kill("was left by who asked")  # else the next grammar would wait for this one
            raise
        except WorkerDied:
            return "the schema ends the grammar compiler; make it smaller"
        except BadRequest as error:
            return str(error)
        finally:
            self._end_when_idle()

    async def _checker_of(self, spec: ModelSpec, vocab_size: int) -> WorkerProcess:
        """Its start goes on when who asked leaves: the process is there for the next one, or ends when idle."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._checker is not None and self._checker.alive() and self._digest == spec.digest:
            return self._checker
        self._starting = asyncio.get_running_loop().create_task(self._start(spec, vocab_size))
        self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    async def _start(self, spec: ModelSpec, vocab_size: int) -> WorkerProcess:
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
        self._end_when_idle()
        return checker

    def _started(self, start: asyncio.Task[WorkerProcess]) -> None:
        self._starting = None
        if not start.cancelled():
            start.exception()  # who waited for it was told

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
