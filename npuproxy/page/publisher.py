"""The one task behind all open pages: it looks once a second, encodes once, and sends what has changed.

1. While nobody looks, it takes a sample for the page's lines every five seconds and does nothing else.
2. A page that does not read is left out. When it reads again it gets the whole picture, not what it has missed.
3. Between two handfuls of pages everybody else on the loop has a turn: an open page must not slow a stream.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
from django.db import DatabaseError

from inference import engine
from inference.in_flight import IN_FLIGHT
from npuproxy.page import picture
from npuproxy.page.history import History, Sample
from npuproxy.page.picture import Painter, Picture
from registry.database_thread import DatabaseThread

logger = logging.getLogger(__name__)

EVERY_S = 1.0
IDLE_S = 5.0
SAMPLE_S = 2.0
HANDFUL = 20
MOST_PAGES = 200 if sys.platform == "win32" else 1000
"""Windows waits for at most 512 sockets of all kinds at once."""


class Page:
    """One open page. `send` returns at once while `is_open` is true."""

    def __init__(self, send: Callable[[str], Awaitable[None]], is_open: Callable[[], bool]) -> None:
        self.send = send
        self.is_open = is_open
        self.behind = True
        """It needs the whole picture."""


class Publisher:
    """Event loop only."""

    def __init__(self) -> None:
        self.pages: set[Page] = set()
        self.history = History()
        self._painter = Painter(self.history)
        self._thread = DatabaseThread("page")
        self._wake = asyncio.Event()
        self._last: Picture | None = None
        self._sampled = 0.0
        self._failing = False

    @property
    def is_full(self) -> bool:
        return len(self.pages) >= MOST_PAGES

    def join(self, page: Page) -> None:
        """Within a second it has the whole picture."""
        self.pages.add(page)
        self._wake.set()

    def leave(self, page: Page) -> None:
        self.pages.discard(page)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                began = time.monotonic()
                self._sample(began)
                if self.pages:
                    await self._look()
                    await asyncio.sleep(max(0.1, began + EVERY_S - time.monotonic()))
                else:
                    await self._rest()
        finally:
            self._thread.close(wait=False)

    async def _rest(self) -> None:
        """Nobody looks."""
        if self._last is not None:
            self._last = None
            self._thread.release()
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), IDLE_S)

    def _sample(self, now: float) -> None:
        if now - self._sampled >= SAMPLE_S:
            self._sampled = now
            self.history.take(time.time(), IN_FLIGHT.tokens(), engine.current().telemetry.readings())

    async def _look(self) -> None:
        engine.current().telemetry.watch()
        try:
            new = await self._thread.read(self._painter.picture)
            self._failing = False
        except DatabaseError as error:
            if not self._failing:
                logger.error("the pages cannot be brought up to date: %s", error)
            self._failing = True
            return
        except Exception:
            logger.exception("the picture for the pages failed")
            return
        old, self._last = self._last, new
        samples = self.history.since(old.time if old else new.time)
        changed = picture.difference(old, new) if old else {}
        news = _encoded(new, {"changed": changed}, samples) if changed or samples else ""
        await self._send(new, news)

    async def _send(self, new: Picture, news: str) -> None:
        whole = ""
        for count, page in enumerate(tuple(self.pages), 1):
            if not page.is_open():
                page.behind = True
            elif page.behind:
                whole = whole or _encoded(new, {"whole": picture.whole(new)}, self.history.since(0.0))
                page.behind = False
                await page.send(whole)
            elif news:
                await page.send(news)
            if count % HANDFUL == 0:
                await asyncio.sleep(0)


def _encoded(new: Picture, part: dict[str, Any], samples: list[Sample]) -> str:
    return orjson.dumps({"time": new.time, **part, "samples": samples}).decode()


_publisher: Publisher | None = None


def current() -> Publisher:
    """The server's; made by the first who asks, on its event loop."""
    global _publisher
    if _publisher is None:
        _publisher = Publisher()
    return _publisher
