"""Where a process of a test lives: its environment, and a data folder that need not be made anew each time.

To make the tables and the rows of the built-in models is a third of what a start costs.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "npuproxy.sqlite3"


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a user who has set nothing but `variables`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NPU_PROXY_", "OLLAMA_", "DJANGO_", "DATABASE_URL", "HF_"))
    }
    return {**kept, "HOME": str(home), "USERPROFILE": str(home), "PYTHONUTF8": "1", **variables}


def furnish(data_dir: Path) -> None:
    """Puts a database there unless one is; secret, admin and the rest are made by whoever starts first."""
    if not (data_dir / DATABASE).exists():
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(_made_by_the_product(), data_dir / DATABASE)


@cache
def _made_by_the_product() -> Path:
    """Once for this process."""
    home = Path(tempfile.mkdtemp(prefix="npuproxy-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    subprocess.run(
        [sys.executable, "manage.py", "models", "list"],
        cwd=ROOT,
        env=environment(home, NPU_PROXY_DATA_DIR=str(home / "data")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return home / "data" / DATABASE
