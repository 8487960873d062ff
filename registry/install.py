"""A staging folder becomes a model: its folder is moved, its row written, both or neither. And the way back.

    MODEL_PATH/
      .staging/<name>            where a transfer or a conversion works; never read as a model
      <name>-<12 of the digest>  a model's folder, never changed after it was moved here

A row is visible only when its folder is there. A folder without a row may be left behind by a crash between the two:
it costs room, is taken by the next install of the same files, and is what `prune` looks for.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from msgspec import structs

from registry import folder, names
from registry.disk_errors import disk_errors
from registry.models import Model

logger = logging.getLogger(__name__)

STAGING: Final = ".staging"
RETIRED_S: Final = 60.0
_RETIRED: Final = "retired-"
_MADE: Final = re.compile(r"\w.*=.*-[0-9a-f]{12}")
"""`_slug` and the digest."""


def models_folder() -> Path:
    return Path(settings.MODEL_PATH)


def staging_folder(name: names.Name) -> Path:
    """Where the files of a model of that name are gathered: on the disk where they will stay. Not made yet."""
    return models_folder() / STAGING / _slug(name.key)


def install(staging: Path, row_fields: Mapping[str, Any]) -> Model:
    """Make the folder, which holds SHA256SUMS, the model `row_fields["name"]`; the row as it was saved.

    Every file was checked against SHA256SUMS by who wrote it. A model of that name is replaced, and its old folder
    goes when nothing else refers to it. Raises ModelDamaged (not a model that runs here) and DiskError; the staging
    folder is then still where it was, and rows and folders are as they were.
    """
    facts = structs.asdict(folder.read(staging))
    name = names.parse(row_fields["name"])
    target = models_folder() / f"{_slug(name.key)}-{facts['digest'][:12]}"
    swap = Swap(staging, target)
    try:
        with transaction.atomic():
            row = Model.by_name(name).select_for_update().first() or Model()
            before = "" if row._state.adding or row.builtin else row.path
            for field, value in (_empty() | facts | {"builtin": False} | dict(row_fields)).items():
                setattr(row, field, value)
            row.name, row.path, row.modified_at = name.display, str(target), timezone.now()
            row.save()
            with disk_errors(name.display):
                swap.make()
            if before and before != row.path:
                transaction.on_commit(lambda: retire(Path(before)))
    except BaseException:
        swap.undo()
        raise
    swap.clear()
    logger.info("installed %s", name.display)
    return row


class Swap:
    """A folder takes the place of what may be there already: an earlier install of the same files, damaged perhaps."""

    def __init__(self, staging: Path, target: Path) -> None:
        self._staging, self._target = staging, target
        self._before = models_folder() / STAGING / f"replaced-{target.name}"
        self._made = False

    def make(self) -> None:
        """Raises OSError; `undo` is still right then."""
        self._target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._target.exists():
            self._before.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(self._before, ignore_errors=True)
            self._target.replace(self._before)
        self._staging.replace(self._target)
        self._made = True
        _sync(self._target.parent)

    def undo(self) -> None:
        with suppress(OSError):
            if self._made:
                self._target.replace(self._staging)
            if self._before.exists():
                self._before.replace(self._target)

    def clear(self) -> None:
        shutil.rmtree(self._before, ignore_errors=True)


def _empty() -> dict[str, Any]:
    """What a source or a Modelfile gives a row: an install that does not say otherwise empties it."""
    texts = dict.fromkeys(("template", "system", "parent", "source", "revision"), "")
    return {**texts, "parameters": {}, "messages": [], "adapters": []}


def remove(model: Model, replaced: bool = False) -> None:
    """The row, and after its transaction the files, when no other row refers to them.

    Files of built-in models and of folders that were registered in place are never touched.
    """
    path = Path(model.path)
    with transaction.atomic():
        model.delete()
        if not model.builtin:
            transaction.on_commit(lambda: (retire if replaced else remove_folder)(path))


def is_ours(path: Path) -> bool:
    """True for a folder that `install` made: one level below MODEL_PATH, with a name that no user would give it, and no
    link to elsewhere. One that a user put there and registered in place is his."""
    named = _MADE.fullmatch(path.name) is not None
    return named and path.parent == models_folder() and not path.is_symlink()


def is_referred_to(path: Path) -> bool:
    """True while a row's folder, or an adapter of one, is this folder or lies in it."""
    for other, adapters in Model.objects.values_list("path", "adapters"):
        used = [other, *(str(adapter.get("path", "")) for adapter in adapters)]
        if any(Path(one) == path or path in Path(one).parents for one in used if one):
            return True
    return False


def remove_folder(path: Path) -> None:
    """Unless it is somebody else's, or in use. Out of sight first, so that a half-removed one is never taken for a
    model."""
    if not is_ours(path) or is_referred_to(path):
        return
    grave = models_folder() / STAGING / f"removed-{path.name}"
    with suppress(OSError):
        grave.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(grave)
        shutil.rmtree(grave)
        return
    logger.warning("the files of %s could not be removed; they are removed by `manage.py prune`", path.name)


def retire(path: Path) -> None:
    """The folder of a model that was replaced. It goes in a minute: a server that has not read the new row yet may be
    loading from it."""
    mark = models_folder() / STAGING / f"{_RETIRED}{path.name}"
    with suppress(OSError):
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch()


def bury() -> None:
    """Remove the folders that were retired long enough ago and that nothing has taken up again."""
    for mark in (models_folder() / STAGING).glob(f"{_RETIRED}*"):
        with suppress(OSError):
            if time.time() - mark.stat().st_mtime > RETIRED_S:
                remove_folder(models_folder() / mark.name.removeprefix(_RETIRED))
                mark.unlink()


def _sync(path: Path) -> None:
    """The rename survives a power cut; Windows has no such call for folders."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _slug(key: str) -> str:
    """A folder's name on any system; two names never share one, since neither `--` at an edge nor `=` is in names."""
    return key.replace("/", "=").replace(":", "=")
