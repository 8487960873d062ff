"""`manage.py doctor [--json] [--fix] [--all]`: what on this machine keeps the server from its best, and the line that
mends it. Exit status 1 where something is broken."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from npuproxy.doctor import examination
from npuproxy.doctor.finding import Finding


class Command(BaseCommand):
    help = "Look at runtime, devices, rights, memory, disk, models, database, port and keys; say what to do."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
        parser.add_argument(
            "--fix", action="store_true", help="mend what can be mended without harm, then look again"
        )
        parser.add_argument("--all", action="store_true", dest="everything", help="hash large models too")

    def handle(self, *args: Any, **options: Any) -> None:
        quiet = options["as_json"]
        wishes = examination.Wishes(
            everything=options["everything"], say=lambda words: self._progress(words, quiet)
        )
        found = self._look(wishes, quiet)
        done: list[dict[str, str]] = []
        if options["fix"] and (done := self._mend(found, quiet)):
            found = self._look(wishes, quiet)
        if quiet:
            self.stdout.write(
                json.dumps(examination.as_json(found) | {"mended": done}, indent=2, ensure_ascii=False)
            )
        else:
            self._sum_up(found)
        if any(one.level == "fault" for one in found):
            sys.exit(1)

    def _look(self, wishes: examination.Wishes, quiet: bool) -> list[Finding]:
        found = []
        for one in examination.findings(wishes):
            found.append(one)
            if not quiet:
                self._show(one)
        return found

    def _show(self, one: Finding) -> None:
        style = {"ok": self.style.SUCCESS, "warning": self.style.WARNING, "fault": self.style.ERROR}[
            one.level
        ]
        self._progress("", False)
        self.stdout.write(f"{style(f'{examination.SYMBOLS[one.level]:>7}')}  {one.area:<11}  {one.words}")
        if one.remedy:
            self.stdout.write(f"{'':>7}  {'':<11}  → {one.remedy}")

    def _mend(self, found: list[Finding], quiet: bool) -> list[dict[str, str]]:
        done = [
            {"area": one.area, "words": one.words, "done": words} for one, words in examination.mended(found)
        ]
        if not quiet:
            for row in done:
                self.stdout.write(f"{'mended':>7}  {row['area']:<11}  {row['done']}")
            self.stdout.write("" if done else "nothing here can be mended without you")
        return done

    def _sum_up(self, found: list[Finding]) -> None:
        counts = examination.as_json(found)["counts"]
        mendable = any(one.mend for one in found)
        words = f"{counts['ok']} well, {counts['warning']} to look at, {counts['fault']} broken"
        self.stdout.write(words + ("; `manage.py doctor --fix` mends a part of it" if mendable else ""))

    def _progress(self, words: str, quiet: bool) -> None:
        """One line that the next one takes the place of."""
        if not quiet and self.stderr.isatty():
            self.stderr.write(f"\r\033[K{words}", ending="")
            self.stderr.flush()
