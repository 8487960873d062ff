"""Packages that have the names of the converter's and nothing of their weight: pip installs them from a folder."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors_models
from django.conf import settings
from engines import BUILTIN

from registry import converter

PINS = ("torch==1.0", "optimum-intel==1.0", "nncf==1.0")


def write(folder: Path) -> Path:
    """The wheels, and the list of versions, which is returned."""
    exporter = Path(__file__).with_name("exporter.py").read_text("utf-8")
    _wheel(folder, "torch", {"torch/__init__.py": ""})
    _wheel(folder, "nncf", {"nncf/__init__.py": ""})
    empty = dict.fromkeys(("optimum/intel/__init__.py", "optimum/commands/__init__.py"), "")
    _wheel(folder, "optimum_intel", {**empty, "optimum/commands/optimum_cli.py": exporter})
    pins = folder / "requirements.txt"
    pins.write_text("# the least that can be told from the real ones\n" + "\n".join(PINS) + "\n")
    return pins


def _wheel(folder: Path, name: str, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    whole = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": tags,
    }
    record = "".join(f"{file},,\n" for file in (*whole, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for file, content in (*whole.items(), (f"{info}/RECORD", record)):
            wheel.writestr(file, content)


def repository(folder: Path, **wish: Any) -> Path:
    """demo in safetensors; `wish` is for the exporter (tests/exporter.py)."""
    safetensors_models.write_repository(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"exporter": {"ir": str(BUILTIN / "demo"), **wish}})
    )
    return folder


def use(patch: pytest.MonkeyPatch, pins: Path) -> None:
    """pip gets these packages and asks no index."""
    patch.setattr(converter, "REQUIREMENTS", pins)
    patch.setenv("PIP_NO_INDEX", "1")
    patch.setenv("PIP_FIND_LINKS", str(pins.parent))


@cache
def installed(base: Path) -> tuple[Path, Path]:
    """The list of versions, and a data folder with the converter in it; made once, below the folder of the run."""
    pins, data = write(base / "wheels"), base / "data-with-converter"
    (data / "converter" / "of-another-version").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, pins)
        patch.setattr(settings, "DATA_DIR", data)
        converter.ensure(True, deadline_s=120)
    return pins, data
