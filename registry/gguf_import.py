"""A GGUF file -> a folder of OpenVINO IR and the files beside it. The file itself is only read."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from registry import child, gguf, gguf_model, sums
from registry.gguf_tokenizer import RUNTIME_SPLITS
from registry.refusals import ImportRefused

LINK: Final = "model.gguf"
DEADLINE_S: Final = 1800.0
_ROOT: Final = Path(__file__).resolve().parent.parent

Say = Callable[[str], object]


def convert(
    file: Path,
    target: Path,
    *,
    on_phase: Say = str,
    cancelled: Callable[[], bool] = bool,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Fill the empty folder `target`, SHA256SUMS included. Blocking.

    Raises ImportRefused for what does not run here, ConversionFailed, ConversionCancelled.
    """
    on_phase("check")
    before = file.stat()
    head = gguf.read(file)
    gguf_model.check(head)
    gguf_model.write_files(head, target)
    own_split = [] if head.metadata.get("tokenizer.ggml.pre") in RUNTIME_SPLITS else ["--own-split"]
    del head  # the vocabulary, before the child takes its memory
    link = target / LINK
    _link(file, link)

    def heard(line: str) -> None:
        if line.startswith("{"):
            on_phase(str(json.loads(line).get("phase", "")))

    child.run(
        [
            sys.executable, "-P", "-m", "inference.worker.gguf_to_ir", str(target.resolve()), str(os.getpid()),
            *own_split,
        ],
        f"the conversion of '{file.name}'",
        on_line=heard, cancelled=cancelled, deadline_s=deadline_s, folder=_ROOT,
        variables=child.environment(PYTHONPATH=str(_ROOT), OPENVINO_LOG_LEVEL="0"),
    )  # fmt: skip
    after = file.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImportRefused(file.name, "changed while it was read", "import it when it is complete")
    link.unlink()
    sums.write(target)


def _link(file: Path, link: Path) -> None:
    """The runtime saves IR beside the file that it reads, so the file has to seem to lie there."""
    try:
        link.symlink_to(file.resolve())
    except OSError:  # Windows, without the right to make links
        try:
            os.link(file, link)
        except OSError:
            shutil.copyfile(file, link)
