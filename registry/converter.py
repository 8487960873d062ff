"""The converter's own virtual environment in the data folder: optional, pinned, installed when the operator consents.

It is made under another name and moved into place when it is whole, so that a half one is never used and two
processes that make it at once do no harm. A new list of versions is a new environment; older ones are removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from django.conf import settings

from registry import child
from registry.refusals import ConversionFailed, ConverterMissing

REQUIREMENTS: Final = Path(__file__).with_name("convert_requirements.txt")
FOLDER: Final = "converter"
NEEDED_BYTES: Final = 3 * 1024**3
"""1.6 GB when it is there, and the archives that it comes from."""
DEADLINE_S: Final = 3600.0
TORCH_INDEX: Final = "https://download.pytorch.org/whl/cpu"
"""Where torch's CPU builds for Linux are; asked for torch alone."""
CONSENT: Final = (
    "the converter is not installed: it takes 1.6 GB, from the package index; "
    'install it with "manage.py models import PATH --yes", or set NPU_PROXY_CONVERT=yes for pulls'
)

Line = Callable[[str], object]


def place() -> Path:
    """Where the environment of these versions belongs, be it there or not."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + version.encode()).hexdigest()[:12]
    return Path(settings.DATA_DIR) / FOLDER / key


def python(environment: Path | None = None) -> Path:
    folder = environment or place()
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def is_installed() -> bool:
    return python().exists()


def ensure(
    consent: bool,
    *,
    on_line: Line = str,
    cancelled: Callable[[], bool] = bool,
    deadline_s: float = DEADLINE_S,
) -> Path:
    """The Python of the environment, which is installed where it is not. Blocking, minutes.

    Raises ConverterMissing without consent, ConversionFailed, ConversionCancelled.
    """
    if is_installed():
        return python()
    if not consent:
        raise ConverterMissing(CONSENT)
    final = place()
    final.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(final.parent).free
    if free < NEEDED_BYTES:
        raise ConversionFailed(
            f"the converter needs {NEEDED_BYTES / 1e9:.1f} GB to install, {free / 1e9:.1f} GB are free"
        )
    making = final.parent / f".making-{os.getpid()}-{final.name}"
    shutil.rmtree(making, ignore_errors=True)
    try:
        _install(making, on_line, cancelled, deadline_s)
        _move(making, final)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    _remove_older(final)
    return python()


def _install(folder: Path, on_line: Line, cancelled: Callable[[], bool], deadline_s: float) -> None:
    def step(*arguments: str) -> None:
        child.run(
            arguments, "the installation of the converter",
            on_line=on_line, cancelled=cancelled, deadline_s=deadline_s, folder=folder.parent,
        )  # fmt: skip

    step(sys.executable, "-I", "-m", "venv", str(folder))
    pip = (
        str(python(folder)), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check",
        "--no-deps", "--only-binary", ":all:", "--progress-bar", "off",
    )  # fmt: skip
    lines = [line.strip() for line in REQUIREMENTS.read_text("utf-8").splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    extra = ("--extra-index-url", TORCH_INDEX, "--retries", "1") if sys.platform == "linux" else ()
    step(*pip, *extra, *(pin for pin in pins if pin.startswith("torch==")))
    step(*pip, *(pin for pin in pins if not pin.startswith("torch==")))
    step(str(python(folder)), "-I", "-c", "import torch, optimum.intel, nncf")


def _move(making: Path, final: Path) -> None:
    try:
        making.rename(final)
    except OSError:
        if not python(final).exists():  # else another process was first
            shutil.rmtree(final, ignore_errors=True)
            making.rename(final)


def _remove_older(final: Path) -> None:
    for folder in final.parent.iterdir():
        if folder != final and not folder.name.startswith(".making-"):
            shutil.rmtree(folder, ignore_errors=True)
