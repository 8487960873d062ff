"""`manage.py serve`: the server, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from npuproxy import flags, startup
from npuproxy.commandline import BEGAN
from npuproxy.data_folder import FolderError
from npuproxy.env import ConfigurationError
from npuproxy.listening import ListenError


class Command(BaseCommand):
    help = "Serve models over the Ollama and OpenAI APIs until Ctrl-C. A flag goes before its variable."
    requires_system_checks = ()  # `make check` runs them; the start need not wait for it

    def add_arguments(self, parser: CommandParser) -> None:
        flags.add_to(parser)

    def get_version(self) -> str:
        return f"npuproxy {settings.VERSION}"

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            startup.serve(BEGAN)
        except (FolderError, ListenError, ConfigurationError) as error:
            sys.exit(f"npuproxy: {error}")
