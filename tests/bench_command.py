"""`manage.py bench` as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def rows(all_of_them: Sequence[str], quickest: Sequence[str]) -> list[str]:
    """Which rows a test measures: all in CI; elsewhere some that take seconds and begin all that there is to begin."""
    return list(dict.fromkeys(all_of_them if os.environ.get("CI") else quickest))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With a data folder of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", "bench", *arguments],
        env={**os.environ, "NPU_PROXY_DATA_DIR": str(folder / "data")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
