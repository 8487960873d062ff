"""What a disk refuses, in words that a client may read."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from registry.hub_errors import DiskError, DiskFull

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(name: str) -> Iterator[None]:
    """OSError -> DiskFull or DiskError, in words without a path."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull(
                f"no room left for {name} ({error.strerror}): free some space where the models are, or set "
                "NPU_PROXY_MODEL_PATH to a larger disk"
            ) from None
        raise DiskError(f"{name} cannot be written where the models are ({error.strerror})") from None
