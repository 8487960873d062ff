"""Rows for the models that ship with the program, found under inference/builtin/ by their SHA256SUMS."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from django.db import transaction
from django.utils import timezone
from msgspec import Struct, structs

import inference
from inference.errors import ModelDamaged
from registry import folder, names
from registry.models import Model

logger = logging.getLogger(__name__)

ROOT: Final = Path(inference.__file__).parent / "builtin"


class Builtin(Struct, frozen=True, kw_only=True):
    """What is wanted of a built-in model beyond what its files say."""

    exact: bool = False
    parameters: dict[str, Any] = {}


_WISHES: Final = {"demo": Builtin(exact=True, parameters={"temperature": 0})}
"""demo: a tiny model answers best greedily, and an answer must not depend on its neighbours (openvino-facts
18)."""


def sync_builtin_models(root: Path = ROOT) -> list[str]:
    """Make the rows agree with the folders; returns the names that changed, none where nothing did.

    Nothing is hashed: a folder is read again when its SHA256SUMS, its place or the reader changed. A model
    that a user made under the same name is left alone. A folder that cannot be read is logged and keeps its
    row, if any.
    """
    with transaction.atomic():
        rows = {row.name: row for row in Model.objects.filter(builtin=True)}
        changed = [name for path in _folders(root) if (name := _sync(path, rows.pop(_row_name(path), None)))]
        for gone in rows.values():
            gone.delete()
            changed.append(gone.name)
    for name in changed:
        logger.info("built-in model %s: row brought up to date", name)
    return changed


def _folders(root: Path) -> list[Path]:
    return sorted(path.parent.resolve() for path in root.glob(f"*/{folder.SUMS}"))


def _row_name(path: Path) -> str:
    return names.parse(path.name).display


def _sync(path: Path, row: Model | None) -> str:
    """The row's name if it had to be written, else ''."""
    name, wishes = _row_name(path), _WISHES.get(path.name, Builtin())
    try:
        if row is not None and _is_current(row, path, wishes):
            return ""
        facts = folder.read(path)
    except ModelDamaged as error:
        logger.error("%s", error)
        return ""
    if row is None:
        if Model.by_name(names.parse(name)).exists():
            logger.warning("built-in model %s: a model of that name was made here; it stays", name)
            return ""
        row = Model(name=name, builtin=True)
    for field, value in (structs.asdict(facts) | structs.asdict(wishes)).items():
        setattr(row, field, value)
    row.modified_at = timezone.now()
    row.save()
    return name


def _is_current(row: Model, path: Path, wishes: Builtin) -> bool:
    return (
        row.path == str(path)
        and row.reader_version == folder.READER_VERSION
        and row.digest == folder.digest(folder.sums(path))
        and (row.exact, row.parameters) == (wishes.exact, wishes.parameters)
    )
