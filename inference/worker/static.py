"""The static pipeline of an NPU: one request at a time, tokens sent and cancellation read inside the streamer."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy
import openvino
import openvino_genai as genai

from inference.worker.batching import adapters
from inference.worker.channel import Channel, ServerGone
from inference.worker.messages import Add, Cancel, Load, Progress, RequestFailed, Step, ToWorker, pack_ids
from inference.worker.sampling import generation_config

_FINISHED = {genai.GenerationFinishReason.STOP: "stop", genai.GenerationFinishReason.LENGTH: "length"}


def properties(load: Load) -> dict[str, Any]:
    """The emulation compiles and runs the same static pipeline on the CPU."""
    options: dict[str, Any] = {
        "MAX_PROMPT_LEN": load.max_prompt_len,
        "MIN_RESPONSE_LEN": load.min_response_len,
    }
    if load.emulated:
        options |= {"NPUW_DEVICES": "CPU", "NPUW_ONLINE_PIPELINE": "NONE"}
    if load.cache_dir:
        options["CACHE_DIR"] = load.cache_dir
    if load.adapters:
        options["adapters"] = adapters(load)
    return options


class TokenStreamer(genai.StreamerBase):  # type: ignore[misc]
    """Hands each token to the server. Never raises: the runtime would swallow it and run on (openvino-facts 9)."""

    def __init__(self, runner: StaticRunner, id: int) -> None:
        super().__init__()
        self._runner = runner
        self._id = id
        self.cancelled = False
        self.gone = False

    def write(self, token: int | list[int]) -> genai.StreamingStatus:
        try:
            ids = [token] if isinstance(token, int) else list(token)
            self._runner.channel.send(Step([Progress(self._id, pack_ids(ids))]))
            self._runner.receive()
        except ServerGone:
            self.gone = True
        self.cancelled = self._id in self._runner.cancelled
        stop = self.cancelled or self.gone
        return genai.StreamingStatus.CANCEL if stop else genai.StreamingStatus.RUNNING

    def end(self) -> None:
        """Nothing is held back."""


class StaticRunner:
    """One model on an NPU, real or emulated."""

    def __init__(self, load: Load, channel: Channel) -> None:
        self._pipeline = genai.LLMPipeline(load.path, load.device, **properties(load))
        self.channel = channel
        self.cancelled: set[int] = set()
        self._waiting: deque[Add] = deque()

    def busy(self) -> bool:
        return bool(self._waiting)

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, Add):
            self._waiting.append(message)
        elif isinstance(message, Cancel):
            self.cancelled.add(message.id)

    def receive(self) -> None:
        """Takes the frames that came while a generation runs."""
        while (message := self.channel.poll(0.0)) is not None:
            self.handle(message)

    def step(self) -> None:
        """One whole generation; its tokens leave through the streamer."""
        add = self._waiting.popleft()
        if add.id in self.cancelled:
            self._finish(add.id, "cancelled")
            return
        streamer = TokenStreamer(self, add.id)
        ids = numpy.frombuffer(add.ids, dtype=numpy.int32).astype(numpy.int64)[None, :]
        inputs = genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        try:
            result = self._pipeline.generate(inputs, generation_config(add), streamer)
        except (RuntimeError, TypeError, ValueError) as error:  # the pipeline recovers (openvino-facts 4, 6)
            self.channel.send(RequestFailed(add.id, str(error)))
            return
        if streamer.gone:
            raise ServerGone
        reasons = getattr(result, "finish_reasons", None) or [None]
        self._finish(add.id, "cancelled" if streamer.cancelled else _FINISHED.get(reasons[0], "length"))

    def _finish(self, id: int, reason: str) -> None:
        self.cancelled.discard(id)
        self.channel.send(Step([Progress(id, b"", reason)]))  # type: ignore[arg-type]
