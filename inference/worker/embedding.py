"""Embeddings: what came in while one batch ran forms the next one."""

from __future__ import annotations

from typing import Any

import numpy

from inference.worker.channel import Channel
from inference.worker.encoder import ID_BYTES, Encoder
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


class Encoders:
    """The model, compiled once, or on an NPU once more for short texts."""

    def __init__(self, load: Load) -> None:
        fixed = load.device.startswith("NPU")
        self._whole = Encoder(load, load.max_length if fixed else 0)
        two = fixed and load.max_length > 2 * SHORT_TOKENS
        self._short = Encoder(load, SHORT_TOKENS) if two else None
        self.executed = self._whole.executed

    def embed(self, texts: list[bytes]) -> list[Vector]:
        """The ids of each text, of one text at least. Raises RuntimeError."""
        encoder = self._whole
        if self._short is not None and max(map(len, texts)) <= SHORT_TOKENS * ID_BYTES:
            encoder = self._short
        return _normalised(encoder.pooled(texts))


def _normalised(rows: Any) -> list[Vector]:
    """Here and not in the model, since /api/embeddings gives the length that the pooled vector had."""
    norms = numpy.sqrt(numpy.square(rows, dtype="f8").sum(axis=1))
    units = (rows / numpy.where(norms > 0, norms, 1)[:, None]).astype("<f4")
    return [Vector(unit.tobytes(), norm) for unit, norm in zip(units, norms.tolist(), strict=True)]


class _Job:
    """A request and the vectors it has so far."""

    def __init__(self, request: Embed) -> None:
        self.request = request
        self.vectors: list[Vector | None] = [None] * len(request.ids)
        self.left = len(request.ids)


class EmbeddingRunner:
    """One embedding model on one device."""

    def __init__(self, load: Load, channel: Channel) -> None:
        self._encoders = Encoders(load)
        self.executed = self._encoders.executed
        self._channel = channel
        self._batches = TextBatches(1 if load.device.startswith("NPU") else BATCH_TEXTS, BATCH_TOKENS)
        self._jobs: dict[int, _Job] = {}
        """By request id."""

    def busy(self) -> bool:
        return bool(self._jobs)

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, Embed):
            self._jobs[message.id] = _Job(message)
            self._batches.add(message.id, [len(ids) // ID_BYTES for ids in message.ids])
        elif isinstance(message, Cancel):
            self._jobs.pop(message.id, None)
            self._batches.drop(message.id)

    def step(self) -> None:
        """One inference over the next texts."""
        batch = self._batches.take()
        texts = [self._jobs[id].request.ids[index] for id, index in batch]
        try:
            vectors = self._encoders.embed(texts)
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
