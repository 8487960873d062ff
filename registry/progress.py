"""What moves on standard error while work goes on: a bar where bytes are counted, a clock where nothing can be.

Silent where standard error is no terminal.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

from django.template.defaultfilters import filesizeformat

WIDTH = 30
EVERY_S = 0.1


class ByteBar:
    """`with ByteBar(total) as bar: bar.label = …; bar.add(n)`. The line is gone afterwards."""

    def __init__(self, total_bytes: int, stream: TextIO | None = None) -> None:
        self.label = ""
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._began = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._drawn:
            self._write("")

    def add(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        now = time.monotonic()
        if self._shown and now - self._drawn >= EVERY_S:
            self._drawn = now
            self._write(self.line(now - self._began))

    def line(self, elapsed_s: float) -> str:
        """Label, bar, share, rate and the time that is left at that rate."""
        share = min(1.0, self._done_bytes / self._total_bytes) if self._total_bytes else 1.0
        rate = self._done_bytes / elapsed_s if elapsed_s > 0 else 0.0
        left = f"{(self._total_bytes - self._done_bytes) / rate:.0f} s left" if rate else ""
        bar = "#" * int(share * WIDTH)
        speed = filesizeformat(rate).replace("\xa0", " ")
        return f"{self.label}  [{bar:<{WIDTH}}] {share:4.0%}  {speed}/s  {left}"

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K{line}")
        self._stream.flush()


class Spinner:
    """`with Spinner("demo on NPU"): …`: a sign of life and the seconds so far. The line is gone afterwards."""

    SIGNS = "|/-\\"

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream or sys.stderr
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._turn, daemon=True) if self._stream.isatty() else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _turn(self) -> None:
        began, turn = time.monotonic(), 0
        while not self._over.wait(EVERY_S):
            sign, turn = self.SIGNS[turn % len(self.SIGNS)], turn + 1
            self._stream.write(f"\r\x1b[K{sign} {self._label}  {time.monotonic() - began:.1f} s")
            self._stream.flush()
