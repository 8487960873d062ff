"""The cache of vectors: what it knows, what it forgets, how it counts."""

from __future__ import annotations

from inference.embedding_cache import EmbeddingCache
from inference.worker.messages import Vector

A, B, C = (Vector(name, norm) for norm, name in enumerate((b"A", b"B", b"C"), 1))


def test_the_least_recently_used_is_forgotten_first() -> None:
    cache = EmbeddingCache(2)
    keys, _ = cache.split("m", [b"a", b"b"])
    cache.put(keys, [A, B])
    assert cache.split("m", [b"a"])[1] == [A]
    (key,), _ = cache.split("m", [b"c"])
    cache.put([key], [C])
    assert cache.split("m", [b"a", b"b", b"c"])[1] == [A, None, C]
    assert (cache.hits, cache.misses) == (3, 4)


def test_models_and_texts_are_told_apart() -> None:
    cache = EmbeddingCache(10)
    keys, _ = cache.split("m", [b"a", b""])
    cache.put(keys, [A, B])
    assert cache.split("other", [b"a"])[1] == [None]
    assert cache.split("m", [b"", b"aa", b"a"])[1] == [B, None, A]
