"""`python -P -m inference.worker.bare_embedding`: openvino_genai's embedding pipeline without a server.

As `inference.worker.bare`: a line of JSON in, a line out. The first one is a `Load`, answered by `Ready`; every other
one a `TextBatch`, answered by `Vectors`. The configuration is that of the product's own worker, but that the pipeline
normalises: the product's vectors have length one too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from inference.worker.bare import Ready
from inference.worker.messages import Load


class TextBatch(Struct, frozen=True):
    """Embedded in one call."""

    texts: tuple[str, ...]


class Vectors(Struct, frozen=True):
    seconds: float
    """What the call took."""
    vectors: tuple[bytes, ...]
    """float32, little-endian."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the runtime prints must not get between the answers
    lines: Iterator[bytes] = iter(sys.stdin.buffer.readline, b"")
    load = msgspec.json.decode(next(lines), type=Load)
    import numpy
    import openvino_genai as genai

    from inference.worker.embedding import configuration, properties

    began = time.perf_counter()
    pipeline = genai.TextEmbeddingPipeline(
        load.path, load.device, configuration(load, normalize=True), **properties(load)
    )
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
