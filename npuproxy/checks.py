"""What `manage.py check` looks at beyond Django's own checks. It loads nothing and asks no device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

BUILTIN = ("demo", "all-minilm")


@register("npuproxy")
def builtin_models_are_there(
    app_configs: Sequence[AppConfig] | None, root: Path | None = None, **_: Any
) -> list[CheckMessage]:
    """A checkout without its large files would answer 404 to the first request."""
    folder = root or settings.BASE_DIR / "inference" / "builtin"
    return [
        Error(
            f"the built-in model {name} has no files in {folder / name}",
            hint="get a whole copy of the program: clone it again",
            id="npuproxy.E001",
        )
        for name in BUILTIN
        if not (folder / name / "openvino_model.bin").is_file()
        or not (folder / name / "SHA256SUMS").is_file()
    ]


@register("npuproxy", deploy=True)
def one_server_has_the_devices(
    app_configs: Sequence[AppConfig] | None, processes: Iterable[psutil.Process] | None = None, **_: Any
) -> list[CheckMessage]:
    """Two servers work side by side, but each thinks that the devices and the memory are its own."""
    found = [process.info for process in processes or psutil.process_iter(["pid", "cmdline"])]
    servers = [info["pid"] for info in found if _serves(info["cmdline"] or [])]
    if len(servers) < 2:
        return []
    return [
        Warning(
            f"{len(servers)} servers run on this machine: processes {', '.join(map(str, servers))}",
            hint="each loads models as if it were alone; let one serve, or divide NPU_PROXY_MEMORY_BUDGET",
            id="npuproxy.W001",
        )
    ]


def _serves(command: list[str]) -> bool:
    return len(command) > 2 and command[1].endswith("manage.py") and command[2] == "serve"
