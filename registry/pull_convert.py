"""What a pull does between the files and the model where the repository has no OpenVINO IR: GGUF and safetensors.

Whether it may is asked before a byte is fetched. What is made lies inside of the pull's staging folder, so that whoever
removes that folder removes it too, and the next try begins it anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from django.conf import settings

from inference.errors import InferenceError
from registry import convert, converter, importer
from registry.convert import PRECISIONS, Precision
from registry.disk_errors import disk_errors
from registry.hub import Repository
from registry.hub_errors import NoModelFiles
from registry.importer import Wishes
from registry.refusals import ConverterMissing
from registry.sources import Source

FOLDER: Final = ".converted"
_SEARCH: Final = "look for an OpenVINO build of it with /api/search"


def check(repository: Repository, variant: str) -> None:
    """Raises ConverterMissing where nobody has consented, NoModelFiles without a tokenizer, and where the `variant`
    asked for is not to be had: a GGUF quantisation (which `hub.repository` has looked for), or one of PRECISIONS."""
    repo = repository.repo
    if (
        variant
        and repository.format != "gguf"
        and (repository.format, variant in PRECISIONS) != ("safetensors", True)
    ):
        there = "OpenVINO IR" if repository.format == "openvino" else "safetensors"
        raise NoModelFiles(f"{repo} has {there} and nothing in {variant}; pull it without, or {_SEARCH}")
    if repository.format == "openvino":
        if "tokenizer.json" not in {file.name for file in repository.files}:
            raise NoModelFiles(
                f"{repo} has no tokenizer.json, without which its prompts cannot be counted; {_SEARCH}"
            )
        return
    if settings.CONVERT == "no":
        raise ConverterMissing(
            f"{repo} has no OpenVINO IR, and this server converts nothing (NPU_PROXY_CONVERT=no); {_SEARCH}"
        )
    if repository.format == "safetensors" and settings.CONVERT != "yes" and not converter.is_installed():
        raise ConverterMissing(
            f"{repo} has no OpenVINO IR and would be converted, but {converter.CONSENT}; or {_SEARCH}"
        )


def make(
    repository: Repository, staging: Path, *, device: str, variant: str, cancelled: Callable[[], bool]
) -> tuple[Path, dict[str, Any]]:
    """The folder that `install` takes, and what its row says of the format. Blocking, minutes where weights are
    compressed. `device` decides about the precision where `variant` does not.

    Raises as `importer.fill`, in words that name the repository.
    """
    source = _source(repository, staging)
    if source is None:
        return staging, {}
    target = staging / FOLDER / repository.repo.rpartition("/")[2]
    with disk_errors(repository.repo):
        shutil.rmtree(target.parent, ignore_errors=True)
        target.mkdir(mode=0o700, parents=True)
        try:
            precision = variant if variant in PRECISIONS else ""
            if source.kind == "safetensors" and not precision:
                precision = convert.precision_for(convert.task_of(staging), device)
            wishes = Wishes(cancelled=cancelled, precision=cast(Precision, precision or "int8"))
            importer.fill(source, target, wishes)
        except InferenceError as error:
            error.args = (str(error).replace(f"'{staging.name}'", f"'{repository.repo}'"), *error.args[1:])
            raise
    return target, {"format": importer.origin(source)["format"]}


def _source(repository: Repository, staging: Path) -> Source | None:
    if repository.format == "safetensors":
        return Source("safetensors", staging)
    if repository.format == "gguf":
        name = next(file.name for file in repository.files if file.name.lower().endswith(".gguf"))
        return Source("gguf", staging / name)
    return None
