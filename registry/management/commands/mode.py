"""`manage.py mode [NAME]`: show or choose the efficiency mode. A running server follows within two seconds."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from inference.modes import AUTO, MODES, NAMES, named
from registry import efficiency
from registry.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Show the efficiency mode, or choose one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help=", ".join(NAMES))
        self.add_verb(parser, self.mode)

    def mode(self, *, name: str | None, as_json: bool, **_: Any) -> None:
        if name is not None:
            efficiency.choose(named(name))
        chosen = efficiency.stored()
        if as_json:
            self.print_json({"mode": chosen, "modes": list(NAMES)})
            return
        meanings = {mode.name: mode.meaning for mode in MODES.values()} | {AUTO: "by battery, hours and heat"}
        self.print_table(
            ("MODE", "", "MEANING"),
            [(mode, "chosen" if mode == chosen else "", meanings[mode]) for mode in NAMES],
        )
