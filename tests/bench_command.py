"""`manage.py bench` as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


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
