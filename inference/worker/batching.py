"""Continuous batching on CPU and GPU: `add_request` and `step()`, all new tokens of a step in one frame."""

from __future__ import annotations

from array import array
from typing import Any

import numpy
import openvino
import openvino_genai as genai

from inference.worker.channel import Channel
from inference.worker.grammar_ahead import GrammarAhead
from inference.worker.messages import (
    Add,
    Cancel,
    Load,
    LoggedStep,
    Progress,
    RequestFailed,
    Step,
    ToWorker,
    pack_ids,
)
from inference.worker.sampling import generation_config

MAX_BATCHED_TOKENS = 256
"""Prefill tokens in one step: the stall of the neighbours. 118 ms at 256, 649 ms at 1,024 (openvino-facts 15)."""
MAX_SEQUENCES = 256
_FINISHED = {genai.GenerationFinishReason.STOP: "stop", genai.GenerationFinishReason.LENGTH: "length"}


def scheduler(kv_blocks: int) -> genai.SchedulerConfig:
    config = genai.SchedulerConfig()
    config.max_num_batched_tokens = MAX_BATCHED_TOKENS
    config.max_num_seqs = MAX_SEQUENCES
    config.dynamic_split_fuse = True
    config.enable_prefix_caching = True
    if kv_blocks:
        config.num_kv_blocks = kv_blocks
    else:
        config.cache_size = 1
    return config


def properties(load: Load) -> dict[str, Any]:
    """f32 hints for models whose texts must not depend on their neighbours (openvino-facts 18)."""
    hints: dict[str, Any] = {}
    if load.exact and load.device.startswith("CPU"):
        hints = {
            "INFERENCE_PRECISION_HINT": openvino.Type.f32,
            "KV_CACHE_PRECISION": openvino.Type.f32,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }
    if load.cache_dir:
        hints["CACHE_DIR"] = load.cache_dir
    if load.adapters:
        hints["adapters"] = adapters(load)
    return hints


def adapters(load: Load) -> genai.AdapterConfig:
    """Static: every other mode waits for a generate() that names the adapters, and add_request never does; the weights
    would be loaded and change nothing."""
    pairs = [(genai.Adapter(path), alpha) for path, alpha in load.adapters]
    return genai.AdapterConfig(pairs, genai.AdapterConfig.Mode.MODE_STATIC)


class BatchingRunner:
    """Every request of one model on one device, in one batch."""

    def __init__(self, load: Load, channel: Channel) -> None:
        self._pipeline = genai.ContinuousBatchingPipeline(
            load.path, scheduler(load.kv_blocks), load.device, properties(load)
        )
        self._channel = channel
        self._running: dict[int, Any] = {}
        self._cancelled: list[int] = []
        self._logged: dict[int, array[float]] = {}
        """Log probabilities of this step, of the requests that want them."""
        self._grammars = GrammarAhead(load.path, self._pipeline.get_tokenizer())

    def busy(self) -> bool:
        return bool(self._running or self._cancelled or self._grammars)

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, Add):
            if not self._grammars.takes(message):
                self._add(message)
        elif isinstance(message, Cancel) and self._grammars.drop(message.id):
            self._cancelled.append(message.id)
        elif isinstance(message, Cancel) and (handle := self._running.pop(message.id, None)) is not None:
            self._logged.pop(message.id, None)
            handle.cancel()
            self._cancelled.append(message.id)

    def _add(self, add: Add) -> None:
        try:
            handle = self._submitted(add)
        except (RuntimeError, TypeError, ValueError) as error:  # an invalid configuration harms nobody else
            self._channel.send(RequestFailed(add.id, str(error)))
            return
        self._running[add.id] = handle
        if add.logprobs:
            self._logged[add.id] = array("f")

    def _submitted(self, add: Add) -> Any:
        """The pipeline's handle of the request. Raises what `add_request` raises; nothing was added then."""
        ids = numpy.frombuffer(add.ids, dtype=numpy.int32).astype(numpy.int64)[None, :]
        return self._pipeline.add_request(add.id, openvino.Tensor(ids), generation_config(add))

    def step(self) -> None:
        """One engine step. An exception of the pipeline leaves this method: it is lost then."""
        for add in self._grammars.ready() if self._grammars else ():
            self._add(add)
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        elif self._grammars:
            self._grammars.wait()
        progress = [Progress(id, b"", "cancelled") for id in self._cancelled]
        self._cancelled.clear()
        for id, handle in list(self._running.items()):
            entry = self._read(id, handle)
            if entry is None:
                continue
            progress.append(entry)
            if entry.finish:
                del self._running[id]
        self._channel.send(LoggedStep(progress, self._logprobs()) if self._logged else Step(progress))

    def _logprobs(self) -> dict[int, bytes]:
        """What came in this step; those of an ended request are given for the last time."""
        told = {id: values.tobytes() for id, values in self._logged.items() if values}
        self._logged = {id: array("f") for id in self._logged if id in self._running}
        return told

    def _read(self, id: int, handle: Any) -> Progress | None:
        status = handle.get_status()
        ids: list[int] = []
        reason = None
        if handle.can_read():
            for output in handle.read().values():
                ids.extend(output.generated_ids)
                reason = output.finish_reason
                if id in self._logged:
                    self._logged[id].extend(output.generated_log_probs)
        if status == genai.GenerationStatus.RUNNING:
            return Progress(id, pack_ids(ids)) if ids else None
        if status == genai.GenerationStatus.IGNORED:
            return Progress(id, pack_ids(ids), "ignored")
        return Progress(id, pack_ids(ids), _FINISHED.get(reason, "length"))  # type: ignore[arg-type]
