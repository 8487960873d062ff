"""Vectors of texts that were embedded before, the least recently used go first. One for each device: no two devices
give the same vectors."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from inference.worker.messages import Vector


class EmbeddingCache:
    """Event loop only. Token ids are kept as digests of 128 bits, vectors as the worker gave them."""

    def __init__(self, size: int) -> None:
        """`size`: vectors at most; 0 keeps none."""
        self._size = size
        self._vectors: OrderedDict[bytes, Vector] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def split(self, model: str, texts: Sequence[bytes]) -> tuple[list[bytes], list[Vector | None]]:
        """The key of each text, given by its packed ids, for `put`, and its vector where it is known.

        `model`: what a worker is loaded by.
        """
        seed = hashlib.blake2b(model.encode(), digest_size=32).digest()
        keys = [hashlib.blake2b(ids, digest_size=16, key=seed).digest() for ids in texts]
        found = [self._get(key) for key in keys]
        known = len(found) - found.count(None)
        self.hits += known
        self.misses += len(found) - known
        return keys, found

    def put(self, keys: Sequence[bytes], vectors: Sequence[Vector]) -> None:
        for key, vector in zip(keys, vectors, strict=True):
            self._vectors[key] = vector
            self._vectors.move_to_end(key)
        while len(self._vectors) > self._size:
            self._vectors.popitem(last=False)

    def _get(self, key: bytes) -> Vector | None:
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector
