"""What lies on the disk and is of no use to anybody: found first, shown, then removed.

    compile cache   its model is gone, or driver or OpenVINO are others now; a folder without a row
    cache row       a row whose folder is gone
    partial files   a transfer, an import or a conversion that nobody goes on with
    model files     a folder that a crash left between its move and its row
    sent file       a blob that no model was made of

Who owns what: a running server's caches are those that were used or written since it started; an active pull owns its
staging folder; whatever was written to a moment ago belongs to somebody who has no row yet. None of it is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from django.conf import settings
from django.db import transaction
from msgspec import Struct

from inference import compile_cache
from inference.compile_cache import CompileCacheKey
from inference.config import EngineConfig
from inference.spare import SpareWorker
from registry import blobs, convert, install, pulls
from registry.models import CompileCache, Download, Model

QUIET_S: Final = 3600.0
"""Written to within this time: somebody may be at it."""
QUIET_ALL_S: Final = 60.0
"""The same, where all that can be spared is asked for."""
WEEK_S: Final = 7 * 24 * 3600.0
_DIGEST: Final = re.compile("[0-9a-f]{64}")
"""What a model's folder of caches is called; other folders are not ours to judge."""
_LONG_WORK: Final = ("import-", "convert-", "create-")
"""A conversion may be silent for as long as it may take."""

Kind = Literal["compile cache", "cache row", "partial files", "model files", "sent file"]


class Runtime(Struct, frozen=True):
    """What compiles here now."""

    openvino: str
    drivers: Mapping[str, str]
    """Device -> driver, of the devices that are in this machine."""


class Rules(Struct, frozen=True, kw_only=True):
    runtime: Runtime
    server_since: float | None = None
    """Unix time of the running server's start; None: none runs, and none can start meanwhile."""
    everything: bool = False
    """Also caches that are good, and what was left within the hour: it costs time to make again."""

    @property
    def quiet_s(self) -> float:
        return QUIET_ALL_S if self.everything else QUIET_S


class Waste(Struct, frozen=True, kw_only=True):
    kind: Kind
    name: str
    """For people: never a path outside of the product's folders."""
    why: str
    size_bytes: int
    path: Path


async def runtime(config: EngineConfig) -> Runtime:
    """Asks a worker. Raises LoadFailed."""
    spare = SpareWorker(config)
    try:
        known = await spare.devices()
        drivers = {device: spare.driver(device) for device in known}
    finally:
        await spare.stop()
    if config.npu_emulation and not any(device.startswith("NPU") for device in known):
        drivers["NPU"] = "emulated"
    return Runtime(spare.openvino, drivers)


def find(rules: Rules) -> list[Waste]:
    """Reads rows and folders, changes nothing."""
    return [*_caches(rules), *_cache_rows(), *_staging(rules), *_model_folders(rules), *_blobs(rules)]


def remove(waste: Waste) -> bool:
    """False when it is still there: in use on Windows, or needed again since it was found."""
    if waste.kind == "compile cache":
        compile_cache.clear(waste.path)
        if not waste.path.exists():
            CompileCache.objects.filter(path=str(waste.path)).delete()
    elif waste.kind == "cache row":
        CompileCache.objects.filter(path=str(waste.path)).delete()
        return True
    elif waste.kind == "model files":
        with (
            transaction.atomic()
        ):  # an install writes its row in the transaction in which it moves the folder
            install.remove_folder(waste.path)
    elif waste.kind == "partial files":
        if waste.path not in _active():
            shutil.rmtree(waste.path, ignore_errors=True)
    else:
        blobs.drop_unused({blobs.sha256_of(waste.path)})
    return not waste.path.exists()


def _caches(rules: Rules) -> Iterator[Waste]:
    root: Path | None = settings.ENGINE.cache_dir
    if root is None:
        return
    known = {row.path: row for row in CompileCache.objects.all()}
    models = dict(Model.objects.values_list("digest", "name"))
    for folder in sorted(path for path in root.glob("*/*") if _DIGEST.fullmatch(path.parent.name)):
        row = known.get(str(folder))
        if why := _why_cache_goes(folder, row, models, rules):
            device = row.device if row else folder.name.partition("_")[0]
            yield Waste(
                kind="compile cache",
                name=f"{models.get(folder.parent.name, folder.parent.name[:12])} on {device}",
                why=why,
                size_bytes=compile_cache.size_bytes(folder),
                path=folder,
            )


def _why_cache_goes(folder: Path, row: CompileCache | None, models: Mapping[str, str], rules: Rules) -> str:
    """'' for one that stays."""
    since, touched = rules.server_since, _touched(folder)
    if since is not None and (touched >= since or (row is not None and row.used_at.timestamp() >= since)):
        return ""
    if folder.parent.name not in models:
        return "its model is gone"
    if row is None:
        return "it has no row" if time.time() - touched > rules.quiet_s else ""
    now = rules.runtime
    driver = now.drivers.get(row.device, row.driver)  # of a device that is away nothing is known
    if row.openvino != now.openvino:
        return f"made by OpenVINO {row.openvino}, now {now.openvino}"
    if row.driver != driver:
        return f"made by driver {row.driver or 'unknown'}, now {driver or 'unknown'}"
    key = CompileCacheKey(digest=row.digest, device=row.device, driver=driver, openvino=row.openvino)
    if folder != key.folder(folder.parent.parent):
        return "its folder has another name than it would get now"
    return "made again by the next load" if rules.everything else ""


def _cache_rows() -> Iterator[Waste]:
    for row in CompileCache.objects.all():
        if not Path(row.path).is_dir():
            yield Waste(
                kind="cache row", name=f"{row.digest[:12]} on {row.device}", why="its folder is gone",
                size_bytes=0, path=Path(row.path),
            )  # fmt: skip


def _active() -> set[Path]:
    return {pulls.staging(row) for row in Download.objects.filter(state__in=Download.ACTIVE)}


def _staging(rules: Rules) -> Iterator[Waste]:
    active = _active()
    for folder in sorted((install.models_folder() / install.STAGING).glob("*")):
        quiet_s = convert.DEADLINE_S if folder.name.startswith(_LONG_WORK) else rules.quiet_s
        idle_s = time.time() - _touched(folder)
        if folder in active or idle_s <= quiet_s:
            continue
        yield Waste(
            kind="partial files", name=folder.name, why=f"nobody works on it, since {_ago(idle_s)}",
            size_bytes=compile_cache.size_bytes(folder), path=folder,
        )  # fmt: skip


def _model_folders(rules: Rules) -> Iterator[Waste]:
    for folder in sorted(path for path in install.models_folder().glob("*") if path.is_dir()):
        if not install.is_ours(folder) or install.is_referred_to(folder):
            continue
        if time.time() - _touched(folder) > rules.quiet_s:
            yield Waste(
                kind="model files", name=folder.name, why="no model refers to it",
                size_bytes=compile_cache.size_bytes(folder), path=folder,
            )  # fmt: skip


def _blobs(rules: Rules) -> Iterator[Waste]:
    used = {
        entry["sha256"] for entries in Model.objects.values_list("adapters", flat=True) for entry in entries
    }
    for path in sorted(blobs.folder().glob("sha256-*")):
        with suppress(OSError):
            status = path.stat()
            if blobs.sha256_of(path) in used or time.time() - status.st_mtime <= rules.quiet_s:
                continue
            yield Waste(
                kind="sent file", name=path.name[:19], why="no model was made of it",
                size_bytes=status.st_size, path=path,
            )  # fmt: skip


def _touched(folder: Path) -> float:
    """Unix time of the last write below it, or of its own move."""
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            newest = max(newest, os.lstat(path).st_mtime)
    return newest


def _ago(idle_s: float) -> str:
    return f"{idle_s / 86400:.0f} days" if idle_s >= WEEK_S else f"{idle_s / 3600:.1f} h"
