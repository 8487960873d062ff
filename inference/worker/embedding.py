"""Embeddings: what came in while one batch ran forms the next one."""

from __future__ import annotations

from typing import Any

import numpy
import openvino_genai as genai

from inference.worker.channel import Channel
from inference.worker.messages import (
    Cancel,
    Embed,
    Embedded,
    Load,
    RequestFailed,
    Step,
    ToWorker,
    Vector,
)
from inference.worker.text_batches import TextBatches

BATCH_TEXTS = 32
"""Texts in one inference: of 15 tokens, 32 take 13 % less CPU each than 16, and 64 no less than 32 (measured)."""
BATCH_TOKENS = 8192
"""Padding included: 32 texts of 256 tokens. What an inference needs beside the weights grows with it."""
SHORT_TOKENS = 64
"""An NPU's shapes are fixed, and padding costs what text does: a text of 15 tokens took 64 ms padded to 256 tokens and
18 ms padded to 64; eight at once padded to 256 took 88 ms each (measured on the emulation)."""
_SPARE_TOKENS = 4
"""Left free in the short shape, so that no disagreement of tokenizers on a character can cut a text there."""
_POOLING = {
    "mean": genai.TextEmbeddingPipeline.PoolingType.MEAN,
    "cls": genai.TextEmbeddingPipeline.PoolingType.CLS,
    "last_token": genai.TextEmbeddingPipeline.PoolingType.LAST_TOKEN,
}


def configuration(load: Load, most_tokens: int = 0, *, normalize: bool) -> genai.TextEmbeddingPipeline.Config:
    """Pooling and length come from the model's own files; the pipeline would take CLS (openvino-facts 10).

    `most_tokens`: of a text, where that is less than the model's own length.
    """
    config = genai.TextEmbeddingPipeline.Config()
    config.pooling_type = _POOLING[load.pooling]
    config.normalize = normalize
    if most_tokens or load.max_length:
        config.max_length = most_tokens or load.max_length
    if load.device.startswith("NPU"):
        config.batch_size = 1
        config.pad_to_max_length = True
    return config


def properties(load: Load) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if load.emulated:
        options = {"NPU_USE_NPUW": "YES", "NPUW_DEVICES": "CPU", "NPUW_ONLINE_PIPELINE": "NONE"}
    if load.cache_dir:
        options["CACHE_DIR"] = load.cache_dir
    return options


class Pipelines:
    """The model, compiled once, or on an NPU once more for short texts."""

    def __init__(self, load: Load) -> None:
        self._whole = self._compiled(load, 0)
        two = load.device.startswith("NPU") and load.max_length > 2 * SHORT_TOKENS
        self._short = self._compiled(load, SHORT_TOKENS) if two else None

    def embed(self, texts: list[str], most_tokens: int) -> list[Vector]:
        """`most_tokens`: of the longest text. Raises RuntimeError; no text at all would end the process."""
        pipeline = self._whole
        if self._short is not None and most_tokens <= SHORT_TOKENS - _SPARE_TOKENS:
            pipeline = self._short
        made = pipeline.embed_documents(texts)
        if len(made) != len(texts):  # of texts without a single token it gives one vector for all
            made = [pipeline.embed_documents([text])[0] for text in texts]
        return _normalised(made)

    def _compiled(self, load: Load, most_tokens: int) -> Any:
        config = configuration(load, most_tokens, normalize=False)
        return genai.TextEmbeddingPipeline(load.path, load.device, config, **properties(load))


def _normalised(pooled: list[Any]) -> list[Vector]:
    """Here and not in the pipeline, since /api/embeddings gives the length that the pooled vector had."""
    rows = numpy.asarray(pooled, dtype="<f4")
    norms = numpy.sqrt(numpy.square(rows, dtype="f8").sum(axis=1))
    units = (rows / numpy.where(norms > 0, norms, 1)[:, None]).astype("<f4")
    return [Vector(unit.tobytes(), norm) for unit, norm in zip(units, norms.tolist(), strict=True)]


class _Job:
    """A request and the vectors it has so far."""

    def __init__(self, request: Embed) -> None:
        self.request = request
        self.vectors: list[Vector | None] = [None] * len(request.texts)
        self.left = len(request.texts)


class EmbeddingRunner:
    """One embedding model on one device."""

    def __init__(self, load: Load, channel: Channel) -> None:
        self._pipelines = Pipelines(load)
        self._channel = channel
        self._batches = TextBatches(1 if load.device.startswith("NPU") else BATCH_TEXTS, BATCH_TOKENS)
        self._jobs: dict[int, _Job] = {}
        """By request id."""

    def busy(self) -> bool:
        return bool(self._jobs)

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, Embed):
            self._jobs[message.id] = _Job(message)
            self._batches.add(message.id, message.tokens)
        elif isinstance(message, Cancel):
            self._jobs.pop(message.id, None)
            self._batches.drop(message.id)

    def step(self) -> None:
        """One inference over the next texts; embed_documents([]) would end the process (openvino-facts 10)."""
        batch = self._batches.take()
        texts = [self._jobs[id].request.texts[index] for id, index in batch]
        longest = max(self._jobs[id].request.tokens[index] for id, index in batch)
        try:
            vectors = self._pipelines.embed(texts, longest)
        except RuntimeError as error:
            for id in dict.fromkeys(id for id, _ in batch):
                self._fail(id, str(error))
            return
        done: list[_Job] = []
        for (id, index), vector in zip(batch, vectors, strict=True):
            job = self._jobs[id]
            job.vectors[index] = vector
            job.left -= 1
            if not job.left:
                done.append(self._jobs.pop(id))
        for job in done:
            self._channel.send(Embedded(job.request.id, tuple(v for v in job.vectors if v is not None)))
        if not done:
            self._channel.send(Step([]))

    def _fail(self, id: int, message: str) -> None:
        self.handle(Cancel(id))
        self._channel.send(RequestFailed(id, message))
