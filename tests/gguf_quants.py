"""Q4_K and Q6_K, which the `gguf` package reads but does not write: plain rounding into ggml's layout of blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def quantize(array: Array, kind: str) -> Bytes:
    """Rows of float32, their length a multiple of 256 -> rows of bytes."""
    rows = array.reshape(-1, BLOCK).astype(np.float32)
    blocks = {"Q4_K": _q4_k, "Q6_K": _q6_k}[kind](rows)
    return blocks.reshape(*array.shape[:-1], -1)


def _half(values: Any) -> Bytes:
    return np.asarray(values, np.float16).reshape(-1, 1).view(np.uint8)


def _divided(values: Any, by: Any) -> Any:
    return np.divide(values, by, out=np.zeros(np.broadcast(values, by).shape, np.float32), where=by != 0)


def _q6_k(rows: Array) -> Bytes:
    """16 groups of 16, each with a signed byte that scales q - 32."""
    groups = rows.reshape(-1, 16, 16)
    scales = np.abs(groups).max(axis=2) / 31
    d = (scales.max(axis=1) / 127).astype(np.float16).astype(np.float32)[:, None]
    steps = np.clip(np.rint(_divided(scales, d)), 0, 127)
    q = np.clip(np.rint(_divided(groups, (d * steps)[:, :, None])), -32, 31).astype(np.int16) + 32
    q = q.reshape(-1, 256).astype(np.uint8)
    low, high = (q & 15).reshape(-1, 2, 2, 64), (q >> 4).reshape(-1, 2, 4, 32)
    ql = (low[:, :, 0] | (low[:, :, 1] << 4)).reshape(-1, 128)
    qh = (high[:, :, 0] | (high[:, :, 1] << 2) | (high[:, :, 2] << 4) | (high[:, :, 3] << 6)).reshape(-1, 64)
    return np.hstack([ql, qh, steps.astype(np.int8).view(np.uint8), _half(d)])


def _q4_k(rows: Array) -> Bytes:
    """8 groups of 32, each with six bits of scale and six of what is taken off."""
    groups = rows.reshape(-1, 8, 32)
    least = np.minimum(groups.min(axis=2), 0)
    scales = (groups.max(axis=2) - least) / 15
    d, dmin = ((v.max(axis=1) / 63).astype(np.float16).astype(np.float32)[:, None] for v in (scales, -least))
    sc = np.clip(np.rint(_divided(scales, d)), 0, 63).astype(np.uint8)
    mn = np.clip(np.rint(_divided(-least, dmin)), 0, 63).astype(np.uint8)
    q = _divided(groups + (dmin * mn)[:, :, None], (d * sc)[:, :, None])
    q = np.clip(np.rint(q), 0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    qs = (q[:, :, 0] | (q[:, :, 1] << 4)).reshape(-1, 128)
    first = (sc[:, :4] & 63) | ((sc[:, 4:] >> 4) << 6)
    second = (mn[:, :4] & 63) | ((mn[:, 4:] >> 4) << 6)
    third = (sc[:, 4:] & 15) | ((mn[:, 4:] & 15) << 4)
    return np.hstack([_half(d), _half(dmin), first, second, third, qs])
