"""What the runtime says while it loads: the only place where it names the device that executes (openvino-facts 22)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from types import TracebackType
from typing import IO

_MODEL = re.compile(r"^Model: (.*)$", re.MULTILINE)
_EXECUTION = re.compile(r"^\s*EXECUTION_DEVICES:[ \t]*(\S[^\n]*)$", re.MULTILINE)


def executed_device(log: str) -> str:
    """Where the model itself was compiled; the log has a section for the tokenizer and the detokenizer too.

    '' when the runtime named no device.
    """
    sections = _MODEL.split(log)[1:]
    named = zip(sections[::2], sections[1::2], strict=True)
    found = [match for name, text in named if "okenizer" not in name for match in _EXECUTION.findall(text)]
    return ", ".join(dict.fromkeys(device.strip() for device in found))


class Loading:
    """`with Loading() as l:` reads stdout and stderr of the C++ side meanwhile; `l.executed`, `l.seconds` after it."""

    executed = ""
    seconds = 0.0

    def __enter__(self) -> Loading:
        sys.stdout.flush()
        sys.stderr.flush()
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._saved = (os.dup(1), os.dup(2))
        os.dup2(self._log.fileno(), 1)
        os.dup2(self._log.fileno(), 2)
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        for target, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, target)
            os.close(saved)
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        self._log.close()
        if error is None:
            self.executed = executed_device(text)
        else:
            os.write(2, text[-2000:].encode())
