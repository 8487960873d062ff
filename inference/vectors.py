"""Vectors as bytes of little-endian float32, and what an embedding request may want done to them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

FLOAT_BYTES = 4


def shortened(vectors: Iterable[bytes], dimensions: int) -> tuple[bytes, ...]:
    """The first `dimensions` components, normalised again; unchanged for 0 and where there are no more."""
    return tuple(_shortened(vector, dimensions) for vector in vectors)


def _shortened(vector: bytes, dimensions: int) -> bytes:
    if not 0 < dimensions < len(vector) // FLOAT_BYTES:
        return vector
    values = array("f", vector[: dimensions * FLOAT_BYTES])
    length = math.sqrt(math.fsum(value * value for value in values))
    if length:
        values = array("f", [value / length for value in values])
    return values.tobytes()
