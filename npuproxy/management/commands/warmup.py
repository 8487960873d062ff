"""`manage.py warmup [MODEL…] [--device D…]`: load models, run a few tokens, show how long each step took.

The running server does it and keeps them; without one this process fills the compile caches, so that the next server
loads quickly. Exit codes: 0 all went well, 1 one did not, 130 interrupted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from msgspec import structs

from compat_api.headers import device_name
from inference.device_names import resolve_device
from inference.errors import InferenceError
from inference.types import ModelSpec
from npuproxy import data_folder, running_server
from npuproxy.data_folder import FolderError
from npuproxy.lifecycle import EMBEDDING
from npuproxy.page.words import duration, size
from npuproxy.running_server import RunningServer
from npuproxy.warmup import InProcess, InServer, Warmed, Warmer
from registry import store, tables
from registry.progress import Spinner

_GONE = "device unavailable"
"""A device that was found once and is not in this machine now: no fault, unless it was named."""
HEAD = ("MODEL", "DEVICE", "RAN ON", "LOAD", "FIRST TOKEN", "TOKENS/S", "COMPILE CACHE")


class Command(BaseCommand):
    help = "Load models on devices, in the running server if there is one, and show how fast they are there."
    requires_system_checks = ()  # they would import the server

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("models", nargs="*", metavar="MODEL", help="default: those of NPU_PROXY_WARMUP")
        parser.add_argument(
            "--device",
            action="append",
            default=[],
            metavar="D",
            help="NPU, GPU, GPU.1, CPU; may be repeated. Default: NPU_PROXY_WARMUP_DEVICES, else every device",
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    def handle(self, *args: Any, models: list[str], device: list[str], as_json: bool, **_: Any) -> None:
        for layer in ("inference", "registry", "npuproxy"):  # what the log says, the table says too
            logging.getLogger(layer).setLevel(logging.ERROR)
        try:
            tables.prepare()
            specs = _specs(models)
            named = [device_name("--device", name) for name in device]
            wanted = [name for name in named if name] or list(settings.WARMUP_DEVICES)
            server = running_server.find(settings.DATA_DIR)
            if server is not None:
                done = self._warm(InServer(server), specs, wanted)
            else:
                with data_folder.locked(settings.DATA_DIR):
                    self.stderr.write("No server is running: compile caches are filled for the next one.")
                    done = self._warm(InProcess(), specs, wanted)
        except (InferenceError, FolderError) as error:
            raise CommandError(str(error)) from error
        self._show(done, server, as_json)
        if failed := sum(bool(one.error) for one in done):
            raise CommandError(f"{failed} of {len(done)} did not succeed")

    def _warm(self, warmer: Warmer, specs: Sequence[ModelSpec], wanted: Sequence[str]) -> list[Warmed]:
        done = []
        with warmer:
            devices = _devices(warmer.devices(), wanted)
            for spec in specs:
                for device in devices:
                    with Spinner(f"{spec.name} on {device}"):
                        one = warmer.warm(spec, device)
                    if wanted or not one.error.endswith(_GONE):
                        done.append(one)
        return done

    def _show(self, done: Sequence[Warmed], server: RunningServer | None, as_json: bool) -> None:
        if as_json:
            where = {"server": server.url if server else None}
            self.stdout.write(json.dumps([structs.asdict(one) | where for one in done], indent=2))
            return
        lines = [HEAD, *(_line(one) for one in done if not one.error)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
        for line in lines if len(lines) > 1 else ():
            cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
            self.stdout.write("   ".join(cells).rstrip())
        for one in done:
            if one.error:
                self.stderr.write(f"{one.model} on {one.device}: {one.error}")


def _specs(names: Sequence[str]) -> list[ModelSpec]:
    """Raises ModelNotFound and CommandError."""
    wanted = list(dict.fromkeys(names or settings.WARMUP))
    if not wanted:
        installed = ", ".join(info.name for info in store.all_models()[:20])
        raise CommandError(f"name a model, or set NPU_PROXY_WARMUP; installed are {installed}")
    return [store.find_sync(settings.EMBEDDING_MODEL if name == EMBEDDING else name) for name in wanted]


def _devices(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """`GPU` is the first of its kind. Raises CommandError for one that is not here."""
    names = [resolve_device(name, tuple(known)) for name in wanted or known]
    for name in names:
        if name not in known:
            raise CommandError(f"this machine has no device {name}; it has {', '.join(known)}")
    return list(dict.fromkeys(names))


def _line(one: Warmed) -> tuple[str, ...]:
    cache = "–"
    if one.cache_bytes is not None:
        cache = f"{size(one.cache_bytes)}, {'filled' if one.compiled else 'read'}"
    return (
        one.model,
        one.device,
        one.executed,
        "was loaded" if one.load_s == 0 else _time(one.load_s),
        _time(one.ttft_s),
        "–" if one.tokens_per_s is None else f"{one.tokens_per_s:.0f}",
        cache,
    )


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)
