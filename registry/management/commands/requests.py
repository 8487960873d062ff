"""`manage.py requests export`: the log of requests as CSV or JSON lines. The server may run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from registry import request_export
from registry.management.verb_command import VerbCommand
from registry.models import RequestLog


class Command(VerbCommand):
    help = "Export the log of requests."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        export = verbs.add_parser("export", help="write requests as CSV or JSON lines, the oldest first")
        export.add_argument(
            "--since", default="", help="36h, 7d, 2026-11-01 or 2026-11-01T12:00 (UTC); all without it"
        )
        export.add_argument("--format", dest="form", choices=request_export.FORMATS, default="csv")
        export.add_argument("-o", "--output", default="-", help="file to write; - for standard output")
        self.add_verb(export, self.export)

    def export(self, *, since: str, form: str, output: str, as_json: bool, **_: Any) -> None:
        rows = RequestLog.objects.all()
        if since:
            try:
                rows = rows.filter(time__gte=request_export.since(since))
            except ValueError as error:
                raise CommandError(f"--since: {error}") from None
        if output == "-":
            self._write(rows, form, sys.stdout.buffer)
            return
        try:
            with Path(output).open("wb") as file:
                written = self._write(rows, form, file)
        except OSError as error:
            raise CommandError(f"-o: {output} cannot be written ({error.strerror})") from None
        if as_json:
            self.print_json({"file": output, "bytes": written})

    def _write(self, rows: Any, form: str, file: BinaryIO) -> int:
        written = 0
        with tqdm(unit="B", unit_scale=True, disable=None, leave=False, file=sys.stderr) as bar:
            for page in request_export.pages(rows, form):
                written += file.write(page)
                bar.update(len(page))
        return written
