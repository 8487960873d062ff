"""Vectors of embeddings, as other servers write them."""

from __future__ import annotations

import base64
import sys
from array import array

from inference.backends.wire import WireError


def vector(given: object) -> list[float]:
    """Of numbers, or of little-endian float32 in base64. Raises WireError for anything else, an empty one too."""
    try:
        if isinstance(given, str):
            numbers = array("f", base64.b64decode(given, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
            given = numbers.tolist()
        if isinstance(given, list) and given:
            return array("d", given).tolist()
    except (ValueError, TypeError, OverflowError):
        pass
    raise WireError("its answer has a vector that is neither a list of numbers nor float32 in base64")
