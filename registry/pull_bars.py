"""Progress bars of one pull on a terminal: for each file and in total, with rate and time left; lines elsewhere.

tqdm, because it is what huggingface-hub and with it the whole field draws, and what everybody can read.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, Final, Self, TextIO

from tqdm import tqdm

from registry.pull_state import PullState
from registry.repository_files import human_size

LINE_EVERY_S: Final = 5.0
"""Between two lines where there is no terminal."""
LABEL: Final = 36

tqdm.monitor_interval = 0  # no thread of its own; the bars are drawn many times a second

PHASES: Final = {
    "": "waits for its turn",
    "manifest": "asks the hub",
    "files": "fetches",
    "verify": "checks digests",
    "convert": "converts",
    "install": "installs",
}
"""What a phase is to people."""


class Bars:
    """`with Bars() as bars: bars.show(state)`, as often as there is a new state."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = _has_width(self._stream)
        self._total: tqdm[Any] | None = None
        self._files: dict[str, tqdm[Any]] = {}
        self._phase = ""
        self._said_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for bar in (*self._files.values(), *([self._total] if self._total else [])):
            bar.refresh()
            bar.close()

    def show(self, state: PullState) -> None:
        if self._terminal:
            self._draw(state)
        else:
            self._say(state)

    def _draw(self, state: PullState) -> None:
        if not state.files:
            return
        if self._total is None:
            self._total = self._bar(f"{state.name}", state.total_bytes, state.completed_bytes, 0)
        for file in state.files:
            if file.name not in self._files and file.completed_bytes:
                self._files[file.name] = self._bar(
                    f"  {file.name}", file.size_bytes, file.completed_bytes, len(self._files) + 1
                )
            if bar := self._files.get(file.name):
                _move(bar, file.completed_bytes)
        self._total.set_postfix_str(
            "" if state.phase == "files" else PHASES.get(state.phase, ""), refresh=False
        )
        _move(self._total, state.completed_bytes)

    def _bar(self, label: str, total: int, completed: int, position: int) -> tqdm[Any]:
        """`initial`: what was here before is part of the bar, not of the rate."""
        return tqdm(
            desc=label if len(label) <= LABEL else f"{label[: LABEL - 1]}…",
            total=total,
            initial=completed,
            position=position,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            file=self._stream,
            leave=True,
        )

    def _say(self, state: PullState) -> None:
        now = time.monotonic()
        if not state.is_active or (state.phase == self._phase and now - self._said_at < LINE_EVERY_S):
            return
        self._phase, self._said_at = state.phase, now
        self._stream.write(line(state) + "\n")
        self._stream.flush()


def _has_width(stream: TextIO) -> bool:
    """A terminal, and one that says how wide it is: some containers' have no column."""
    try:
        return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return False


def _move(bar: tqdm[Any], completed: int) -> None:
    if completed != bar.n:
        bar.update(completed - bar.n)


def line(state: PullState) -> str:
    """`qwen3:8b: fetches, 41 % of 4.9 GB, 31.2 MB/s, 95 s left`."""
    said = [PHASES.get(state.phase, state.phase)]
    if state.total_bytes:
        said.append(f"{state.share:.0%} of {human_size(state.total_bytes)}")
    if state.rate:
        said += [f"{human_size(int(state.rate))}/s", f"{state.left_s:.0f} s left"]
    return f"{state.name}: {', '.join(said)}"
