"""Runs one bounded piece of work in a child process: its lines as they come, a deadline, no survivors."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Final

import psutil

from registry.refusals import ConversionCancelled, ConversionFailed

POLL_S: Final = 0.1
KEPT_LINES: Final = 40
"""The last lines that a child said are kept for the error."""
MAX_LINE: Final = 4096
_KILLED: Final = -9
"""SIGKILL that was not ours: how Linux ends what takes too much memory."""
_SECRETS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "DATABASE_URL", "CELERY_BROKER_URL")
_NOISE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Line = Callable[[str], object]


def environment(**more: str) -> dict[str, str]:
    """This process's variables without its secrets, with `more`."""
    return {**{name: value for name, value in os.environ.items() if name not in _SECRETS}, **more}


def run(
    arguments: Sequence[str],
    what: str,
    *,
    on_line: Line = str,
    cancelled: Callable[[], bool] = bool,
    deadline_s: float = 600.0,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    """Wait for the child to end well. Blocking; `on_line` gets each line of stdout and stderr, in this thread.

    Its standard input is a pipe that closes when this process ends, however it ends. Raises ConversionFailed with its
    last words (`what` begins the sentence), ConversionCancelled.
    """
    process = subprocess.Popen(
        list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
        env=dict(variables) if variables is not None else environment(),
        start_new_session=sys.platform != "win32",  # Ctrl-C is this process's to handle
    )  # fmt: skip
    assert process.stdout is not None
    lines: SimpleQueue[str] = SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), name="child-output", daemon=True)
    reader.start()
    last: deque[str] = deque(maxlen=KEPT_LINES)

    def heard(wait_s: float) -> None:
        for line in _lines(lines, wait_s):
            last.append(line)
            on_line(line)

    try:
        ends_at = time.monotonic() + deadline_s
        while process.poll() is None:
            heard(POLL_S)
            if cancelled():
                raise ConversionCancelled(f"{what} was cancelled")
            if time.monotonic() > ends_at:
                raise ConversionFailed(f"{what} did not end within {deadline_s:.0f} s")
        reader.join(5.0)
        heard(0.0)
    finally:
        _end(process)
    if process.returncode == _KILLED:
        raise ConversionFailed(f"{what} was killed, for want of memory most likely; free some and try again")
    if process.returncode:
        raise ConversionFailed(f"{what} failed: {_words(last) or f'exit status {process.returncode}'}")


def _read(stream: IO[bytes], lines: SimpleQueue[str]) -> None:
    """Bars rewrite their line with a carriage return: each state of it is a line."""
    rest = b""
    while block := os.read(stream.fileno(), 65536):
        *whole, rest = re.split(rb"[\r\n]+", (rest + block)[-(1 << 20) :])
        for line in whole:
            lines.put(_clean(line))
        rest = rest[-MAX_LINE:]
    lines.put(_clean(rest))


def _clean(line: bytes) -> str:
    return _NOISE.sub("", line[-MAX_LINE:].decode("utf-8", errors="replace")).strip()


def _lines(lines: SimpleQueue[str], wait_s: float) -> list[str]:
    found = []
    try:
        found.append(lines.get(timeout=wait_s) if wait_s else lines.get_nowait())
        while True:
            found.append(lines.get_nowait())
    except Empty:
        return [line for line in found if line]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child and of what it started, and wait."""
    if process.poll() is None:
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        process.kill()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _words(last: Sequence[str]) -> str:
    """The line that says most of what went wrong, without local paths."""
    errors = [line for line in last if re.match(r"(\w+\.)*\w*(Error|Exception|ERROR)\b", line)]
    words = (errors or list(last) or [""])[-1]
    return re.sub(r"(?<![\w:])(?:[A-Za-z]:)?[/\\](?:[^\s'\"/\\]+[/\\])+", "", words)[:400]
