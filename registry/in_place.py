"""Rows for the folders that CHAT_MODEL_PATH and EMBEDDING_MODEL_PATH name: registered at each start, where they lie."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from django.conf import settings

from inference.errors import InferenceError, ModelDamaged
from registry import folder, importer, names, sources
from registry.models import Model
from registry.refusals import ImportRefused

logger = logging.getLogger(__name__)

VARIABLES: Final = {"CHAT_MODEL_PATH": Model.Kinds.CHAT, "EMBEDDING_MODEL_PATH": Model.Kinds.EMBEDDING}


def sync_folders() -> list[str]:
    """The names that changed. A folder that is no model is logged with its variable; the server starts all the same.

    Nothing is hashed where the row is of the same folder and SHA256SUMS.
    """
    changed = []
    for variable, kind in VARIABLES.items():
        path: Path | None = getattr(settings, variable)
        if path is None:
            continue
        try:
            if name := _sync(path, kind):
                changed.append(name)
        except (InferenceError, OSError) as error:
            logger.error("%s=%s is not used: %s", variable, path, error)
    return changed


def _sync(path: Path, kind: Model.Kinds) -> str:
    source = sources.look(path)
    if source.kind != "openvino":
        raise ImportRefused(
            path.name, "is no folder of OpenVINO IR", 'make one of it with "manage.py models import"'
        )
    name = names.parse(importer.default_name(source))
    row = Model.by_name(name).first()
    if row is not None and row.path != str(path) and Path(row.path).exists():
        raise ImportRefused(path.name, f"has the name of the model '{name.display}'", "rename the folder")
    if row is not None and _is_current(row, path):
        return ""
    row = importer.adopt_in_place(path, name)
    if row.kind != kind:
        logger.warning("%s is registered, but it is of kind %s", name.display, row.kind)
    return name.display


def _is_current(row: Model, path: Path) -> bool:
    try:
        listed = folder.sums(path)
    except ModelDamaged:
        return False
    same = row.path == str(path) and row.digest == folder.digest(listed)
    return same and row.reader_version == folder.READER_VERSION
