"""One worker process and the server's end of its channel: what is asked of it, what it says, when it is given up."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import time
from collections.abc import Callable
from typing import IO, cast

from inference.errors import (
    BadRequest,
    InferenceError,
    InferenceTimeout,
    LoadFailed,
    WorkerDied,
    runtime_words,
)
from inference.run import Run
from inference.worker import messages as wire

logger = logging.getLogger(__name__)

START_DEADLINE_S = 60.0
LOAD_DEADLINE_S = 600.0
SILENCE_S = 30.0
"""A worker with work that says nothing for max(this, 10 x its longest step) is killed (openvino-facts 23)."""
LOOKING_S = 600.0
"""The same while it looks at images: one call of the pipeline, which takes seconds an image on a slow processor."""
ASLEEP_S = 5.0
"""A pause that took so much longer was no pause of ours."""
END_S = 1.0
"""An idle worker sees the closed channel at once; one inside a long step or a load is killed after this."""
_NO_PROGRESS = "no progress for {:g} s (NPU_PROXY_INFERENCE_TIMEOUT)"
_ids = itertools.count(1)


class WorkerProcess(asyncio.Protocol):
    """Requests of a worker by id; every one of them ends, also when the process does."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes], inference_timeout_s: float) -> None:
        self.process = process
        self.hello: asyncio.Future[wire.Hello] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_death: Callable[[], None] | None = None
        """Called when the process ended without being asked to."""
        self.closing = False
        self._log = log
        self._timeout_s = inference_timeout_s
        self._splitter = wire.FrameSplitter()
        self._transport: asyncio.Transport | None = None
        self._runs: dict[int, Run] = {}
        self._answers: dict[int, asyncio.Future[wire.FromWorker]] = {}
        self._loaded: asyncio.Future[wire.Loaded] | None = None
        self._fatal = ""
        self._lost = False
        self._heard_at = time.perf_counter()
        self._longest_step_s = 0.0
        self._looking = False
        self._watch: asyncio.Task[None] | None = None

    # --- requests -----------------------------------------------------------------------------------------------

    async def load(self, load: wire.Load) -> wire.Loaded:
        """Raises LoadFailed with the runtime's words, or WorkerDied."""
        self._loaded = asyncio.get_running_loop().create_future()
        self._send(load)
        try:
            return await asyncio.wait_for(self._loaded, LOAD_DEADLINE_S)
        except TimeoutError:
            self.kill("did not load within its deadline")
            raise LoadFailed(f"loading took longer than {LOAD_DEADLINE_S:g} s") from None

    def submit(self, make_add: Callable[[int], wire.Add]) -> Run:
        id = next(_ids)
        run = Run(id, self._cancel)
        if not self.alive():
            run.fail(self._death())
            return run
        self._runs[id] = run
        self._send(make_add(id))
        self._watch_while_busy()
        return run

    async def embed(self, ids: tuple[bytes, ...]) -> tuple[wire.Vector, ...]:
        """The packed ids of each text, of one text at least."""
        answer = await self._ask(lambda id: wire.Embed(id, ids))
        return cast(wire.Embedded, answer).vectors

    async def check(self, grammar: dict[str, object]) -> str:
        answer = await self._ask(lambda id: wire.Check(id, grammar))
        return cast(wire.Checked, answer).error

    async def _ask(self, make: Callable[[int], wire.Embed | wire.Check]) -> wire.FromWorker:
        if not self.alive():
            raise self._death()
        id = next(_ids)
        answer: asyncio.Future[wire.FromWorker] = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        self._send(make(id))
        self._watch_while_busy()
        try:
            return await answer
        finally:
            if self._answers.pop(id, None) is not None:
                self._send(wire.Cancel(id))

    def _cancel(self, id: int) -> None:
        self._send(wire.Cancel(id))

    def _send(self, message: wire.ToWorker) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(wire.frame(message))

    # --- life ---------------------------------------------------------------------------------------------------

    def alive(self) -> bool:
        return not (self.closing or self._lost)

    def kill(self, why: str) -> None:
        """SIGKILL; the channel's end does the rest."""
        logger.warning("worker %s killed: it %s", self.process.pid, why)
        self._fatal = self._fatal or why
        self._lost = True
        self.process.kill()

    async def close(self) -> None:
        """Ends the process and waits until it is gone: only that returns all of its memory."""
        self.closing = True
        if self._transport is not None:
            self._transport.close()
        await asyncio.shield(self.ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if not self.closing:
            self.process.kill()
        self._runs_failed(self._death())
        asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        deadline = time.monotonic() + END_S
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
            await asyncio.sleep(0.005)
        self._report_end()
        if not self.ended.done():
            self.ended.set_result(None)
        if not self.closing and self.on_death is not None:
            self.on_death()

    def _report_end(self) -> None:
        self._log.seek(0)
        tail = self._log.read()[-2000:].decode(errors="replace").strip()
        self._log.close()
        if not self.closing:
            logger.error(
                "worker %s ended (exit status %s) %s%s",
                self.process.pid, self.process.returncode, self._fatal, f"; its last words: {tail}" if tail else "",
            )  # fmt: skip

    def _death(self) -> WorkerDied:
        cause = f": {self._fatal}" if self._fatal else ""
        return WorkerDied(f"the worker process of the model ended unexpectedly{cause}")

    def _runs_failed(self, error: InferenceError) -> None:
        for future in (self.hello, self._loaded):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting any more
        self._fail_answers(error)
        runs, self._runs = self._runs, {}
        for run in runs.values():
            run.fail(error)

    def _fail_answers(self, error: InferenceError) -> None:
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(error)

    # --- frames -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._runs and not self._looking:
            self._longest_step_s = max(self._longest_step_s, now - self._heard_at)
        self._heard_at = now
        for body in self._splitter.feed(data):
            self._received(wire.decode_from_worker(body), now)

    def _received(self, message: wire.FromWorker, now: float) -> None:
        match message:
            case wire.Step(progress):
                self._step(progress, now)
            case wire.LoggedStep(progress, logprobs):
                for id, values in logprobs.items():
                    if id in self._runs:
                        self._runs[id].push_logprobs(values)
                self._step(progress, now)
            case wire.RequestFailed(id, text, field):
                self._request_failed(id, BadRequest(runtime_words(text), field))
            case wire.Looking(done):
                self._looking = not done
            case wire.Counted(id, tokens) if id in self._runs:
                self._runs[id].prompt_tokens = tokens
            case wire.Embedded(id) | wire.Checked(id):
                if (answer := self._answers.pop(id, None)) is not None and not answer.done():
                    answer.set_result(message)
            case wire.Hello():
                self.hello.set_result(message)
            case wire.Loaded() if self._loaded is not None and not self._loaded.done():
                self._loaded.set_result(message)
            case wire.LoadFailed(text) if self._loaded is not None and not self._loaded.done():
                self._loaded.set_exception(LoadFailed(text))
            case wire.Fatal(text):
                self._fatal = runtime_words(text)

    def _step(self, progress: list[wire.Progress], now: float) -> None:
        for entry in progress:
            run = self._runs.get(entry.id)
            if run is None:
                continue
            if entry.finish:
                del self._runs[entry.id]
            run.push(entry.ids, entry.finish)
        for run in self._runs.values():
            if run.first_token_at is None:
                run.progress_at = now

    def _request_failed(self, id: int, error: BadRequest) -> None:
        if (run := self._runs.pop(id, None)) is not None:
            run.fail(error)
        elif (answer := self._answers.pop(id, None)) is not None and not answer.done():
            answer.set_exception(error)

    # --- deadlines ----------------------------------------------------------------------------------------------

    def _watch_while_busy(self) -> None:
        if self._watch is None or self._watch.done():
            self._heard_at = time.perf_counter()
            self._watch = asyncio.get_running_loop().create_task(self._watch_deadlines())

    async def _watch_deadlines(self) -> None:
        pause_s = min(1.0, self._timeout_s / 4) if self._timeout_s else 1.0
        while (self._runs or self._answers) and not self._lost:
            began = time.perf_counter()
            await asyncio.sleep(pause_s)
            now = time.perf_counter()
            if now - began > pause_s + ASLEEP_S:
                self._begin_to_listen(now)
                continue
            silent_s = now - self._heard_at
            if silent_s > max(LOOKING_S if self._looking else SILENCE_S, 10 * self._longest_step_s):
                self.kill(f"was silent for {silent_s:.0f} s")
                return
            self._expire_runs(now, silent_s)

    def _begin_to_listen(self, now: float) -> None:
        """This process was stopped (Ctrl-Z, a suspended container): what it did not hear is no fault of the worker."""
        self._heard_at = now
        for run in self._runs.values():
            if run.first_token_at is not None:
                run.progress_at = now

    def _expire_runs(self, now: float, silent_s: float) -> None:
        if not self._timeout_s:
            return
        for id, run in list(self._runs.items()):
            if now - run.progress_at > self._timeout_s:
                del self._runs[id]
                self._cancel(id)
                run.fail(InferenceTimeout(_NO_PROGRESS.format(self._timeout_s)))
        if silent_s > self._timeout_s:
            self._fail_answers(InferenceTimeout(_NO_PROGRESS.format(self._timeout_s)))
            self.kill(f"made no progress for {self._timeout_s:g} s")
