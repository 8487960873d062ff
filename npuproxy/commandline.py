"""What `manage.py` does before and around Django's commands."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

from npuproxy import data_folder, env, flags

BEGAN = time.monotonic()
"""When the process began, within the time Python itself takes."""

_TOUCH_NOTHING = frozenset(
    ("check", "makemigrations", "documents", "help", "version", "--help", "--version", "-h")
)


def main(arguments: Sequence[str]) -> None:
    """Run a command. What a user can mend is one line and an exit code other than 0."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "npuproxy.settings")
    command = arguments[1] if len(arguments) > 1 else "help"
    try:
        if command == "serve":
            _end_at_once_on_interrupt()
            env.OVERRIDES.update(flags.overrides(arguments[2:]))
        from django.conf import settings
        from django.core.management import execute_from_command_line

        asks_only = command in _TOUCH_NOTHING or {"--help", "-h", "--version"} & set(arguments)
        if not asks_only:
            data_folder.prepare(settings.DATA_DIR, settings.SECRET_KEY, settings.BASE_DIR)
        execute_from_command_line(list(arguments))
    except (env.ConfigurationError, data_folder.FolderError) as error:
        sys.exit(f"npuproxy: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # who reads has enough, as `| head` has
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else it fails again when it is flushed
        sys.exit(141)


def _end_at_once_on_interrupt() -> None:
    """Until the server takes the signals over. As an exception, an interrupt that comes during a finaliser is printed
    and forgotten; there is no process to end yet, and a transaction that is cut is rolled back.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
