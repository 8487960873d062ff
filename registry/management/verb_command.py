"""Commands of several verbs, as `manage.py models list`: errors in one line, tables, JSON with `--json`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from inference.errors import InferenceError
from registry import tables


class VerbCommand(BaseCommand):
    """Each verb is added with the work that it does: that is called with the verb's options and `as_json`."""

    requires_system_checks = ()  # they would import the server

    def add_verb(self, verb: argparse.ArgumentParser, work: Callable[..., None]) -> None:
        verb.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
        verb.set_defaults(work=work)

    def handle(self, *args: Any, work: Callable[..., None], **options: Any) -> None:
        try:
            tables.prepare()
            work(**options)
        except InferenceError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"the database cannot be read or written ({error})") from error

    def print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False))

    def print_table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
        for line in (head, *rows):
            cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
            self.stdout.write("   ".join(cells).rstrip())
