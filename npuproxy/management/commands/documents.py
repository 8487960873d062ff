"""`manage.py documents`: are the tables in the documents what the code says?"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from npuproxy import documents


class Command(BaseCommand):
    help = "Check the generated tables in the documents, or write them."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        action = parser.add_mutually_exclusive_group()
        action.add_argument("--check", action="store_true", help="fail when a table is stale (the default)")
        action.add_argument("--write", action="store_true", help="bring every table up to date")

    def handle(self, *args: Any, **options: Any) -> None:
        stale = documents.changed(settings.BASE_DIR, write=options["write"])
        if stale and not options["write"]:
            raise CommandError(f"stale: {', '.join(stale)}; run `manage.py documents --write`")
        for file in stale:
            self.stdout.write(f"written: {file}")
