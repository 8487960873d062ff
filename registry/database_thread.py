"""Queries on behalf of the event loop, whose own thread never holds a database connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from django.db import DatabaseError, connections

T = TypeVar("T")

PREFIX: Final = "database-"
"""How the names of these threads begin."""


class DatabaseThread:
    """One thread, with a connection that stays open: to open one for each look costs six times the look."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{PREFIX}{name}")

    async def run(self, work: Callable[[], T]) -> T:
        """Goes on when its caller is cancelled. A connection that failed is replaced by the next call's."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _run, work)

    async def read(self, work: Callable[[], T]) -> T:
        """As `run`, for work that may be done twice: a connection that died meanwhile is not noticed."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _read, work)

    def release(self) -> None:
        """Close the connection behind what is under way; the next call opens one."""
        self._pool.submit(connections.close_all)

    def close(self, *, wait: bool = True) -> None:
        """Close the connection and end the thread. With `wait` blocking."""
        self.release()
        self._pool.shutdown(wait=wait)


def _run(work: Callable[[], T]) -> T:
    try:
        return work()
    except DatabaseError:
        connections.close_all()
        raise


def _read(work: Callable[[], T]) -> T:
    try:
        return _run(work)
    except DatabaseError:
        return _run(work)
