"""What the tests of imports and conversions ask of a model, of a folder of models, and of processes."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from engines import ask, events_of, run, running_engine, text_of

from registry import install
from registry.models import Model

QUESTION = "How do I pull a model?"


def answer(row: Model) -> str:
    """What the row's model says to QUESTION, by way of a real worker."""
    texts: list[str] = []

    async def scenario() -> None:
        async with running_engine() as engine:
            texts.append(text_of(await events_of(engine, row.spec(), ask(QUESTION))))

    run(scenario)
    return texts[0]


def left_in(models: Path) -> list[str]:
    """Folders of models, and whatever was left in the workshop."""
    workshop = models / install.STAGING
    found = [*models.glob("*"), *(workshop.glob("*") if workshop.exists() else [])]
    return sorted(path.name for path in found if path != workshop)


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 30
    while alive := [pid for pid in pids if psutil.pid_exists(pid) and not is_zombie(pid)]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.05)


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids_in(file: Path) -> tuple[int, ...]:
    """Those of the exporter and of its child, once they are there."""
    deadline = time.monotonic() + 30
    while not file.exists() or len(file.read_text().split()) < 2:
        assert time.monotonic() < deadline, "the exporter did not begin"
        time.sleep(0.05)
    return tuple(map(int, file.read_text().split()))
