"""What is looked at, in the order in which it is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from msgspec import Struct

from inference.telemetry.readings import Readings
from inference.telemetry.sampler import FIRST_S, Sampler
from npuproxy.doctor import kernel, models, network, runtime, storage
from npuproxy.doctor.finding import Finding, Look, examine

SYMBOLS: Final = {"ok": "ok", "warning": "warning", "fault": "FAULT"}
READINGS_S: Final = FIRST_S + 0.5


class Wishes(Struct, frozen=True, kw_only=True):
    """How thoroughly."""

    everything: bool = False
    """Hash large models too."""
    say: Callable[[str], None] = lambda words: None
    """Told what takes time."""
    readings: Readings | None = None
    """Of a sampler that runs already."""


PLAIN: Final = Wishes()


def findings(wishes: Wishes = PLAIN) -> Iterator[Finding]:
    return examine(_areas(wishes, Path(settings.ENGINE.sysfs_root)))


def _areas(wishes: Wishes, root: Path) -> Iterable[tuple[str, Look]]:
    yield "runtime", runtime.versions
    emulated = runtime.emulates()
    seen: set[str] = {"CPU"}
    if sys.platform != "win32":
        user = kernel.this_user()
        yield "NPU", lambda: _noting(kernel.npu(root, user, emulated), seen, "NPU")
        yield "GPU", lambda: _noting(kernel.gpu(root, user), seen, "GPU")
    yield "devices", lambda: runtime.devices("NPU" in seen, emulated)
    yield "sensors", lambda: kernel.sensors(wishes.readings or _readings(root, wishes.say))
    yield "memory", storage.memory
    yield "disk", storage.disk
    yield "data folder", storage.folder
    yield "database", storage.database
    yield "broker", storage.task_broker
    yield "models", lambda: models.files(wishes.everything, wishes.say)
    yield "fit", lambda: models.fit(sorted(seen | ({"NPU"} if emulated else set())))
    yield "port", network.port
    yield "port", network.ollama
    yield "keys", network.keys
    yield "TLS", network.tls
    yield "WSL", lambda: network.wsl(root)


def _noting(found: Iterator[Finding], seen: set[str], device: str) -> Iterator[Finding]:
    """Remembers that the kernel shows one: then something about it is found that is not its absence."""
    for one in found:
        if one.level == "fault" or "may be used" in one.words:
            seen.add(device)
        yield one


def _readings(root: Path, say: Callable[[str], None]) -> Readings:
    """A sampler of its own, for as long as it takes to know rates."""
    say("reading sensors")
    sampler = Sampler(root)
    sampler.start()
    try:
        time.sleep(READINGS_S)
        return sampler.readings()
    finally:
        sampler.stop()


def mended(found: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """Mends what can be mended without harm; what was done, or why it was not."""
    for one in found:
        if one.mend is None:
            continue
        try:
            yield one, one.mend()
        except Exception as error:  # the others are still mended
            yield one, f"not mended: {error}"


def as_json(found: Iterable[Finding]) -> dict[str, Any]:
    rows = [
        {"area": one.area, "level": one.level, "words": one.words, "remedy": one.remedy or None}
        for one in found
    ]
    counts = {level: sum(row["level"] == level for row in rows) for level in SYMBOLS}
    return {"version": settings.VERSION, "findings": rows, "counts": counts}
