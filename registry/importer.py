"""Adopts what lies on this machine as a model: IR in place or copied; GGUF, safetensors and ONNX as IR made of them."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.db import transaction
from django.utils import timezone
from msgspec import Struct, structs

from inference.errors import BadRequest
from registry import convert, folder, gguf_import, install, names, onnx_import, sources, sums
from registry.convert import Precision, Progress
from registry.disk_errors import disk_errors
from registry.models import Model
from registry.sources import Source

logger = logging.getLogger(__name__)

_FORMATS: Final = {"gguf": Model.Formats.GGUF}


class Wishes(Struct, frozen=True, kw_only=True):
    """How it is to be adopted. `copy` matters for IR alone: the other kinds are made anew and never changed."""

    copy: bool = False
    precision: Precision = "int8"
    consent: bool | None = None
    """To install the converter; None: what NPU_PROXY_CONVERT says."""
    deadline_s: float = convert.DEADLINE_S
    on_progress: Callable[[Progress], object] = id
    cancelled: Callable[[], bool] = bool


def adopt(path: Path, name: str = "", wishes: Wishes | None = None) -> Model:
    """The model's row, written when everything is in place. Blocking.

    Raises ImportRefused, ModelDamaged, BadRequest (the name), ConverterMissing, ConversionFailed, DiskError.
    """
    wishes = wishes or Wishes()
    source = sources.look(path.expanduser().absolute())
    wanted = names.parse(name or default_name(source))
    _check_free(wanted, source)
    if source.kind == "openvino" and not wishes.copy:
        return adopt_in_place(source.path, wanted)
    staging = install.models_folder() / install.STAGING / f"import-{secrets.token_hex(8)}" / source.name
    with disk_errors(wanted.display):
        staging.mkdir(mode=0o700, parents=True)
    try:
        with disk_errors(wanted.display):
            fill(source, staging, wishes)
        return install.install(staging, {"name": wanted.display, **origin(source)})
    finally:
        shutil.rmtree(staging.parent, ignore_errors=True)


def fill(source: Source, target: Path, wishes: Wishes | None = None) -> None:
    """Make the empty folder `target` a folder of IR with SHA256SUMS. Raises as `adopt` does."""
    wishes = wishes or Wishes()
    progress = Phases(wishes.on_progress)
    if source.path.is_dir():
        sources.check_links(source.path)
    if source.kind == "openvino":
        progress("copy")
        _copy(source.path, target)
    elif source.kind == "gguf":
        gguf_import.convert(source.path, target, on_phase=progress, cancelled=wishes.cancelled)
    elif source.kind == "onnx":
        onnx_import.convert(source.path, target, on_phase=progress, cancelled=wishes.cancelled)
    else:
        convert.convert(
            source.path, target, precision=wishes.precision, on_progress=wishes.on_progress,
            cancelled=wishes.cancelled, deadline_s=wishes.deadline_s, consent=wishes.consent,
        )  # fmt: skip


def origin(source: Source) -> dict[str, Any]:
    """What the row says of where it came from."""
    return {"source": source.origin, "format": _FORMATS.get(source.kind, Model.Formats.OPENVINO)}


def default_name(source: Source) -> str:
    """The folder's or file's name in the grammar of names: `Qwen3-0.6B-Q8_0.gguf` -> `qwen3-0.6b-q8_0`."""
    name = re.sub(r"[^a-z0-9._-]+", "-", source.name.lower()).strip("._-")[:80]
    if not name:
        raise BadRequest(f"'{source.name}' makes no model name; give one with --name", "name")
    return name


def adopt_in_place(path: Path, name: names.Name) -> Model:
    """The row of a folder that stays where it is. SHA256SUMS is checked, or written where there is none."""
    source = Source("openvino", path)
    sources.check_links(path)
    sources.check_ir(path, sums.model_files(path))
    if (path / folder.SUMS).exists():
        sums.check(path)
    else:
        sums.write(path)
    facts = structs.asdict(folder.read(path))
    with transaction.atomic():
        row = Model.by_name(name).select_for_update().first() or Model(name=name.display)
        before = row.path
        for field, value in (facts | origin(source)).items():
            setattr(row, field, value)
        row.modified_at = timezone.now()
        row.save()
        if before not in ("", row.path):
            transaction.on_commit(lambda: install.retire(Path(before)))
    logger.info("registered %s in place", name.display)
    return row


def _check_free(name: names.Name, source: Source) -> None:
    """A name is taken over from the same source alone. Raises BadRequest."""
    row = Model.by_name(name).first()
    if row is not None and (row.builtin or row.source != source.origin):
        raise BadRequest(
            f"a model '{row.name}' exists; give another name with --name, or remove it first", "name"
        )


def _copy(path: Path, target: Path) -> None:
    if (path / folder.SUMS).exists():
        sums.check(path)
        listed = [*folder.sums(path), folder.SUMS]
    else:
        listed = sums.model_files(path)
    sources.check_ir(path, listed)
    for name in listed:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path / name, target / name)
    if folder.SUMS not in listed:
        sums.write(target)


class Phases:
    """Names of phases -> Progress with the time since the beginning."""

    def __init__(self, on_progress: Callable[[Progress], object]) -> None:
        self._on_progress = on_progress
        self._began = timezone.now()

    def __call__(self, phase: str) -> None:
        self._on_progress(Progress(phase, (timezone.now() - self._began).total_seconds()))
