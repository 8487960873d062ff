"""Rows that an older version of the program read from files: what this one finds in the same files besides."""

from __future__ import annotations

import logging
from pathlib import Path

from inference.errors import ModelDamaged
from registry import folder
from registry.models import Model

logger = logging.getLogger(__name__)


def sync_readers() -> list[str]:
    """The names whose rows changed. Built-in models and folders in place are read anew as a whole, elsewhere.

    Found since version 2 of the reader: whether a model fills in. A model whose files are damaged is left as it is.
    """
    changed = []
    rows = Model.objects.filter(builtin=False, kind=Model.Kinds.CHAT)
    for row in rows.filter(reader_version__lt=folder.READER_VERSION):
        try:
            can = {*row.capabilities} | ({"insert"} if folder.infill_tokens(Path(row.path)) else set())
        except ModelDamaged as error:
            logger.warning("%s", error)
            continue
        row.capabilities = [capability for capability in folder.CAPABILITIES if capability in can]
        row.reader_version = folder.READER_VERSION
        row.save()
        changed.append(row.name)
    return changed
