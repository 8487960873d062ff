"""`manage.py certify [--device D] [--model M]`: a report of what was claimed, tried and seen. Exit status 1 where a
claim did not hold."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from npuproxy import certify, own_server

FOUND_S = 60.0
"""For the runtime of a server that has just started to name its devices."""


class Command(BaseCommand):
    help = "Try on a real server what is claimed of this machine, and write down what was seen."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--device",
            type=_device,
            help="NPU, GPU, GPU.1, CPU; default: the one that the server prefers",
        )
        parser.add_argument("--model", default="demo", help="a chat model that is installed; default: demo")
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print the whole report as JSON"
        )
        parser.add_argument("--output", type=Path, metavar="FILE", help="write the report there too")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with (
                own_server.running() as server,
                server.client(httpx.Timeout(30, read=certify.READ_S)) as client,
            ):
                _require(client, options["model"], "completion")
                _require(client, settings.EMBEDDING_MODEL, "embedding")
                certification = certify.Certification(
                    client, options["device"] or "", options["model"], settings.EMBEDDING_MODEL
                )
                seen = _seen(client)
                certification.device = certification.device or _default_device(seen, certification)
                checks = []
                for check in certification.checks():
                    checks.append(check)
                    if not options["as_json"]:
                        self._show(check)
                found = certify.report(server, certification, checks)
        except (own_server.NotStarted, httpx.HTTPError) as error:
            raise CommandError(str(error)) from error
        text = json.dumps(found, indent=2, ensure_ascii=False)
        if options["output"]:
            options["output"].write_text(text + "\n", "utf-8")
        if options["as_json"]:
            self.stdout.write(text)
        else:
            self._sum_up(found)
        if not found["certified"]:
            sys.exit(1)

    def _show(self, check: certify.Check) -> None:
        word = self.style.SUCCESS("holds") if check.passed else self.style.ERROR("FAILS")
        self.stdout.write(f"{word}  {check.name:<10} {check.found}   ({check.seconds:.1f} s)")
        if not check.passed:
            self.stdout.write(f"       {'':<10} expected: {check.expected}")

    def _sum_up(self, found: dict[str, Any]) -> None:
        words = "certified" if found["certified"] else "not certified"
        self.stdout.write(f"{found['model']['name']} on {found['device']}: {words}")


def _device(text: str) -> str:
    if not re.fullmatch(r"(NPU|GPU|CPU)(\.\d+)?", text.upper()):
        raise argparse.ArgumentTypeError(f"{text!r} is no device such as NPU, GPU.1 or CPU")
    return text.upper()


def _require(client: httpx.Client, model: str, capability: str) -> None:
    """Raises CommandError for a model that is not there, or is of the other kind."""
    shown = client.post("/api/show", json={"model": model})
    if shown.status_code == 404:
        raise CommandError(
            f"model '{model}' is not installed: manage.py models list, manage.py pullmodel {model}"
        )
    if shown.is_success and capability not in shown.json()["capabilities"]:
        verb = "chat" if capability == "completion" else "embed texts"
        raise CommandError(f"model '{model}' does not {verb}, and cannot be tried for it")


def _seen(client: httpx.Client) -> list[str]:
    """This machine's devices, as soon as they are known."""
    deadline = time.monotonic() + FOUND_S
    while True:
        rows = client.get("/health/devices").json()["devices"]
        seen = [row["id"] for row in rows if row.get("local", True)]
        if seen or time.monotonic() > deadline:
            return seen
        time.sleep(0.1)


def _default_device(seen: list[str], certification: certify.Certification) -> str:
    """The preferred one of the server that runs, where it can answer now, else what it has."""
    wished = str(certification.explained()["requested"] or "")
    return wished if wished in seen else seen[-1] if seen else "CPU"
