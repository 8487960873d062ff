"""`manage.py prune`: free the disk of what nobody needs any more. The server may run: what it uses stays."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference.errors import InferenceError
from npuproxy import data_folder, running_server
from npuproxy.data_folder import FolderError
from npuproxy.page.words import size
from registry import prune, tables
from registry.progress import Spinner
from registry.prune import Rules, Waste


class Command(BaseCommand):
    help = (
        "Remove compile caches, partial downloads and files that no model, driver or version needs any more."
    )
    requires_system_checks = ()  # they would import the server

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would go, and its size")
        parser.add_argument(
            "--all",
            action="store_true",
            dest="everything",
            help="also compile caches that are good, and what was left within the last hour",
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    def handle(self, *args: Any, dry_run: bool, everything: bool, as_json: bool, **_: Any) -> None:
        for layer in ("inference", "registry", "npuproxy"):
            logging.getLogger(layer).setLevel(logging.ERROR)
        server = running_server.find(settings.DATA_DIR)
        try:
            tables.prepare()
            with nullcontext() if server else data_folder.locked(settings.DATA_DIR):
                with Spinner("looking at what is here"):
                    rules = Rules(
                        runtime=asyncio.run(prune.runtime(settings.ENGINE)),
                        server_since=server.since if server else None,
                        everything=everything,
                    )
                    found = prune.find(rules)
                left = [] if dry_run else [waste for waste in found if not prune.remove(waste)]
        except (InferenceError, FolderError) as error:
            raise CommandError(str(error)) from error
        if as_json:
            self._print_json(found, left, dry_run)
        else:
            self._print(found, left, dry_run)

    def _print_json(self, found: Sequence[Waste], left: Sequence[Waste], dry_run: bool) -> None:
        entries = [
            {
                "kind": waste.kind,
                "name": waste.name,
                "why": waste.why,
                "size_bytes": waste.size_bytes,
                "removed": not dry_run and waste not in left,
            }
            for waste in found
        ]
        self.stdout.write(json.dumps(entries, indent=2, ensure_ascii=False))

    def _print(self, found: Sequence[Waste], left: Sequence[Waste], dry_run: bool) -> None:
        for waste in found:
            kept = "  (in use, it stays)" if waste in left else ""
            amount = size(waste.size_bytes) if waste.size_bytes else "–"
            self.stdout.write(f"{amount:>9}  {waste.kind:<14} {waste.name}: {waste.why}{kept}")
        total = sum(waste.size_bytes for waste in found if waste not in left)
        if not found:
            self.stdout.write("Nothing to remove.")
        elif dry_run:
            self.stdout.write(f"{size(total) if total else 'Nothing'} would be freed.")
        else:
            self.stdout.write(f"{size(total) if total else 'Nothing'} was freed.")
