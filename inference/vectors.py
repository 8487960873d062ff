"""What an embedding request may want done to its vectors."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from inference.worker.messages import Vector

FLOAT_BYTES = 4


def shortened(vectors: Iterable[Vector], dimensions: int) -> tuple[Vector, ...]:
    """The first `dimensions` components, normalised again; unchanged for 0 and where there are no more."""
    return tuple(_shortened(vector, dimensions) for vector in vectors)


def _shortened(vector: Vector, dimensions: int) -> Vector:
    if not 0 < dimensions < len(vector.unit) // FLOAT_BYTES:
        return vector
    values = array("f", vector.unit[: dimensions * FLOAT_BYTES])
    length = math.sqrt(math.fsum(value * value for value in values))
    if length:
        values = array("f", [value / length for value in values])
    return Vector(values.tobytes(), vector.norm * length)
