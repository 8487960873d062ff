"""`python -P -m inference.worker.bare_embedding`: openvino_genai's embedding pipeline without a server.

As `inference.worker.bare`: a line of JSON in, a line out. The first one is a `Load`, answered by `Ready`; every other
one a `TextBatch`, answered by `Vectors`. The pooling, the length and the device's properties are those of the
product's own worker; the pipeline normalises: the product's vectors have length one too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from inference.worker.bare import Ready
from inference.worker.messages import Load

_POOLING = {"mean": "MEAN", "cls": "CLS", "last_token": "LAST_TOKEN"}


class TextBatch(Struct, frozen=True):
    """Embedded in one call."""

    texts: tuple[str, ...]


class Vectors(Struct, frozen=True):
    seconds: float
    """What the call took."""
    vectors: tuple[bytes, ...]
    """float32, little-endian."""


def configuration(load: Load) -> Any:
    """Pooling and length come from the model's own files; the pipeline would take CLS (openvino-facts 10)."""
    import openvino_genai as genai

    config = genai.TextEmbeddingPipeline.Config()
    config.pooling_type = getattr(genai.TextEmbeddingPipeline.PoolingType, _POOLING[load.pooling])
    config.normalize = True
    if load.max_length:
        config.max_length = load.max_length
    if load.device.startswith("NPU"):
        config.batch_size = 1
        config.pad_to_max_length = True
    return config


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the runtime prints must not get between the answers
    lines: Iterator[bytes] = iter(sys.stdin.buffer.readline, b"")
    load = msgspec.json.decode(next(lines), type=Load)
    import numpy
    import openvino_genai as genai

    from inference.worker.encoder import properties

    began = time.perf_counter()
    pipeline = genai.TextEmbeddingPipeline(load.path, load.device, configuration(load), **properties(load))
    answers.write(msgspec.json.encode(Ready(time.perf_counter() - began)) + b"\n")
    for line in lines:
        texts = list(msgspec.json.decode(line, type=TextBatch).texts)
        began = time.perf_counter()
        made = pipeline.embed_documents(texts)
        seconds = time.perf_counter() - began
        vectors = tuple(numpy.asarray(vector, dtype="<f4").tobytes() for vector in made)
        answers.write(msgspec.json.encode(Vectors(seconds, vectors)) + b"\n")
    os._exit(0)  # as the workers do: without the destructors of the pipeline


if __name__ == "__main__":
    main()
